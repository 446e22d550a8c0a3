"""The wall around a run: what would wait for the real world is refused, with the cure; what is the run's own works."""

from __future__ import annotations

import asyncio
import ctypes.util
import os
import platform
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe

import pytest

from wfsim.errors import Deadlock, RealIOError
from wfsim.kernel import Simulation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has other pipes")


def simulate(main):
    outcome = Simulation().run(main)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


@pytest.fixture
def pair():
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda end: end.recv(1),
        lambda end: end.recv_into(bytearray(1)),
        lambda end: end.recvfrom(1),
        lambda end: end.recvmsg(1),
        lambda end: end.send(b"x"),
        lambda end: end.sendall(b"x"),
        lambda end: end.makefile("rb").read(1),
        lambda end: end.makefile("wb", buffering=0).write(b"x"),
        lambda end: os.read(end.fileno(), 1),
    ],
)
def test_a_socket_from_before_the_run_is_refused(pair, use):
    """A connection that a library opened earlier is real: neither read nor written, and never waited for."""
    with pytest.raises(RealIOError, match="fake"):
        simulate(lambda: use(pair[0]))
    pair[1].send(b"after")
    assert pair[0].recv(5) == b"after"


def test_a_listener_from_before_the_run_is_refused():
    """To wait for a client is to wait for the real world."""
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(RealIOError, match="accept"):
        simulate(server.accept)


def test_tls_from_before_the_run_is_refused(pair):
    """TLS reads and writes past the socket's methods; it meets the same wall."""
    context = ssl.create_default_context()
    secure = context.wrap_socket(pair[0], server_hostname="x", do_handshake_on_connect=False)
    with secure, pytest.raises(RealIOError, match="TLS"):
        simulate(secure.do_handshake)
    memory = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x")
    with pytest.raises(ssl.SSLWantReadError):
        simulate(memory.do_handshake)


def test_a_pipe_from_before_the_run_is_refused():
    """Reading one waits for whoever holds its other end."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as file, os.fdopen(writer, "wb"):
        reads = [lambda: os.read(reader, 1), lambda: file.read(1), file.readline, lambda: file.raw.readall()]
        for read in reads:
            with pytest.raises(RealIOError, match="before the run"):
                simulate(read)


def test_a_process_from_before_the_run_is_not_waited_for():
    """Its output and its end are refused, and whether it still runs may be asked."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, stdout=-1) as process:
        assert simulate(process.poll) is None
        for wait in (process.wait, process.stdout.read):
            with pytest.raises(RealIOError):
                simulate(wait)
        with pytest.raises(Deadlock):  # it asks `select` first: nothing in the run makes that ready
            simulate(process.communicate)
        process.stdin.close()
        assert process.wait() is not None


def test_files_are_read_and_written_as_ever(tmp_path):
    """Ordinary files are no real I/O to wait for."""

    def main():
        (tmp_path / "file").write_text("text", encoding="utf-8")
        return (tmp_path / "file").read_text(encoding="utf-8")

    assert simulate(main) == "text"


@pytest.mark.parametrize("make", [socket.socketpair, Pipe])
def test_pairs_that_the_run_makes_work_in_virtual_time(make):
    """Two simulated threads talk over sockets; a read waits for the write, or for the socket's timeout."""

    def main():
        near, far = socket.socketpair() if make is socket.socketpair else Pipe()
        send, recv = ("sendall", "recv") if make is socket.socketpair else ("send_bytes", "recv_bytes")
        threading.Timer(5, getattr(far, send), (b"late",)).start()
        got = getattr(near, recv)(4), time.monotonic()
        if make is socket.socketpair:
            near.settimeout(2)
            with pytest.raises(TimeoutError):
                near.recv(1)
            near.setblocking(False)
            with pytest.raises(BlockingIOError):
                near.recv(1)
        near.close()
        far.close()
        return *got, time.monotonic()

    assert simulate(main) == (b"late", 5.0, 7.0 if make is socket.socketpair else 5.0)


def test_a_full_socket_waits_for_its_reader():
    """A write waits in virtual time too."""

    def main():
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            while select.select([], [near], [], 0)[1]:
                near.send(bytes(100_000))
            near.setblocking(True)

            def drain():
                time.sleep(3)
                while select.select([far], [], [], 0)[0]:
                    far.recv(1_000_000)

            threading.Thread(target=drain).start()
            near.send(b"x")
            return time.monotonic()

    assert simulate(main) == 3.0


def test_nobody_writes_into_the_pipe():
    """What waits for data that never comes is a deadlock with a name."""

    def main():
        reader, _writer = os.pipe()
        os.read(reader, 1)

    outcome = Simulation().run(main)
    assert outcome.name == "deadlock"
    assert outcome.waiting[0].where.endswith("main")


def test_what_the_machine_is_can_be_asked(monkeypatch):
    """Libraries that tell who they are ask for it, and ``platform`` asks a program; not in a run."""
    monkeypatch.setattr("platform._uname_cache", None)
    monkeypatch.setattr("platform._platform_cache", {})
    assert simulate(platform.platform) == platform.platform()


def test_a_library_can_be_looked_for(tmp_path, monkeypatch):
    """Modules do that when they are imported, with the help of programs; it takes no time."""
    code = "import ctypes.util\nFOUND = ctypes.util.find_library('c')\n"
    (tmp_path / "looks_for_a_library.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def main():
        import looks_for_a_library

        return looks_for_a_library.FOUND, time.monotonic()

    assert simulate(main) == (ctypes.util.find_library("c"), 0.0)


def test_an_import_that_starts_a_process_says_when_to_import(tmp_path, monkeypatch):
    """Some modules ask a program about the machine when they are imported: the cure is to import them earlier."""
    code = "import subprocess\nsubprocess.check_output(['uname'])\n"
    (tmp_path / "asks_the_machine.py").write_text(code, encoding="utf-8")
    (tmp_path / "imports_that.py").write_text("import asks_the_machine\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    def main():
        import imports_that  # noqa: F401

    with pytest.raises(RealIOError, match="import imports_that: import that before the run"):
        simulate(main)
    with pytest.raises(RealIOError, match="fake"):
        simulate(lambda: subprocess.check_output(["uname"]))


def test_an_event_loop_in_c_is_refused():
    """uvloop waits in the kernel of the operating system, in real time: it says so instead of hanging."""
    uvloop = pytest.importorskip("uvloop")

    async def part():
        await asyncio.sleep(0.01)

    def by_hand():
        loop = uvloop.new_event_loop()
        coro = part()
        try:
            loop.run_until_complete(coro)
        finally:
            coro.close()
            loop.close()

    with pytest.raises(RealIOError, match="uvloop"):
        simulate(by_hand)
    uvloop.run(part())


def test_what_announces_itself_like_a_loop_in_c_is_refused():
    """Whoever sets hooks for async generators without naming the function that does it is such a loop."""

    def named():
        sys.set_asyncgen_hooks(None, None)

    def hidden():
        hooks = getattr(sys, "set_asyncgen" + "_hooks")
        hooks(None, None)

    simulate(named)
    with pytest.raises(RealIOError, match="not written in Python"):
        simulate(hidden)


GREEN = """
import threading
import _threading_local

threading.local = _threading_local.local  # as gevent's: none of the interpreter's own
"""


def test_a_process_that_gevent_has_patched_is_refused(tmp_path):
    """It is told what is in the way, where all that could be seen is that thread-locals are not where they were."""
    (tmp_path / "gevent").mkdir()
    (tmp_path / "gevent" / "__init__.py").write_text("", encoding="utf-8")
    (tmp_path / "gevent" / "monkey.py").write_text(GREEN, encoding="utf-8")
    code = "import gevent.monkey, wfsim\nwfsim.simulate(print)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ImportError: gevent has taken the place of threads" in done.stderr
