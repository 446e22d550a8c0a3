"""An error that one thread is told to raise by another, as CPython's ``PyThreadState_SetAsyncExc`` does it."""

from __future__ import annotations

import queue
import threading
import time

import pytest

from wfsim.kernel import Simulation, check_interruption, now, raise_in_thread


class Stop(Exception):
    """What the threads of these tests are told to raise."""


def simulate(main):
    outcome = Simulation().run(main)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def interrupted(work):
    """Run ``work(seen)`` in a thread, interrupt it after a second, and give what it has seen when it has ended."""

    def main():
        seen = []

        def run():
            try:
                work(seen)
            except Stop:
                seen.append(("stopped", now()))

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1)
        assert raise_in_thread(thread.ident, Stop)
        thread.join()
        return seen

    return simulate(main)


def test_a_sleep_is_not_cut_short():
    """The error comes when the sleep is over, before anything else is done."""

    def work(seen):
        time.sleep(5)
        seen.append("went on")

    assert interrupted(work) == [("stopped", 5.0)]


@pytest.mark.parametrize("wait", [lambda: threading.Event().wait(3), lambda: queue_get(3)])
def test_a_wait_for_a_signal_ends_with_the_error(wait):
    """So do waits for an event or a queue."""

    def work(seen):
        wait()
        seen.append("went on")

    assert interrupted(work) == [("stopped", 3.0)]


def queue_get(timeout_s):
    queue.Queue().get(timeout=timeout_s)


def test_a_lock_is_never_lost():
    """Who gets a lock is interrupted when it next waits for something else: the lock is free again."""
    lock = threading.Lock()

    def hold():
        with lock:
            time.sleep(4)

    def work(seen):
        threading.Thread(target=hold).start()
        time.sleep(0.5)
        with lock:
            seen.append("in")
            time.sleep(1)
            seen.append("went on")

    assert interrupted(work) == ["in", ("stopped", 5.0)]
    assert not lock.locked()


def test_the_error_comes_once():
    """Who catches it goes on undisturbed."""

    def work(seen):
        with pytest.raises(Stop):
            time.sleep(2)
        time.sleep(2)
        seen.append(now())

    assert interrupted(work) == [4.0]


def test_a_thread_interrupts_itself_at_once():
    """There is no wait to be over."""

    def work(seen):
        time.sleep(2)  # what others tell it comes when this is over
        seen.append("went on")

    def at_once(seen):
        try:
            work(seen)
        finally:
            raise_in_thread(threading.get_ident(), KeyError)

    def main():
        seen = []

        def run():
            with pytest.raises(KeyError):
                at_once(seen)
            seen.append(now())

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return seen

    assert simulate(main) == ["went on", 2.0]


def test_code_that_would_wait_in_the_real_world_can_ask():
    """``check_interruption`` raises what is due, and otherwise does nothing."""

    def main():
        seen, ready = [], threading.Lock()
        ready.acquire()

        def run():
            check_interruption()
            with ready:  # interrupted here, where no error is raised
                with pytest.raises(Stop):
                    check_interruption()
                check_interruption()
                seen.append("on its own terms")

        thread = threading.Thread(target=run)
        thread.start()
        time.sleep(1)
        assert raise_in_thread(thread.ident, Stop)
        ready.release()
        thread.join()
        return seen

    assert simulate(main) == ["on its own terms"]


def test_nobody_else_is_interrupted():
    """False says that no simulated thread has the identifier: one that has ended, or none, or no simulation."""

    def main():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return raise_in_thread(thread.ident, Stop)

    assert simulate(main) is False
    assert raise_in_thread(threading.get_ident(), Stop) is False
    check_interruption()
