"""The clock: a SimPy environment whose time is integer nanoseconds and whose run loop also drives coroutines.

SimPy keeps a heap of `(time, priority, number, event)`. Here the heap holds bare integers, the instants at
which something happens, and a dict maps each instant to what happens then. An instant that is in the heap
and not in the dict has been cancelled and costs nothing but its integer. That is about twice as fast as the
heap of tuples, it keeps the order in which things were set, and a cancelled timer never moves the clock.

What stands in the queue is an *item*: an object with `_enter(_send, None)`, which makes it happen. For a
task `_enter` is `Context.run` and `_send` the coroutine's `send`, so that the run loop resumes a coroutine
with one call and no frame of its own. Whatever belongs to an event loop has that loop in `_loop`; the rest
of the world has None there.
"""

from __future__ import annotations

import asyncio.tasks
import sys
from collections import deque
from heapq import heapify, heappop, heappush, heapreplace
from itertools import repeat
from operator import length_hint
from typing import TYPE_CHECKING, Any, ClassVar

import simpy
from greenlet import getcurrent, greenlet
from simpy.core import BoundClass
from simpy.events import NORMAL, URGENT, AllOf, AnyOf, Event, Process, Timeout

from wfsim.errors import Deadlock, Livelock, OperationBoundReached, StepBoundReached, TimeBoundReached
from wfsim.units import NS_PER_SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from wfsim.kernel._loop import VirtualLoop

# asyncio's own table of which task runs in which loop; `asyncio.current_task` reads it.
CURRENT_TASKS: dict[Any, Any] = asyncio.tasks._current_tasks  # type: ignore[attr-defined]

FOREVER_NS = 2**63
_CHUNK_STEPS = 10_000
_STALE_MIN = 128
# The shortest sleep in nanoseconds that the hot loop does itself; less, nothing and NaN are the task's business.
_SHORTEST = 1.0


class Parked:
    """What a coroutine yields to stay out of the queue until somebody puts it back."""

    __slots__ = ()


PARKED = Parked()


class Bucket(deque[Any]):
    """Several items due at one instant, in the order in which they were set."""

    _loop = None
    _send = None

    def _enter(self, _send: None, _value: None) -> Bucket:
        return self

    def in_asyncios_order(self) -> list[Any]:
        """The items; tasks that slept line up instead of going on at once.

        So it is in asyncio, where the future of a sleep has its task called in the loop's next round. For a
        sleep that ends at an instant of its own there is no difference, and the run loop saves the detour.
        """
        return [item if item._send is None else Deferred(item) for item in self]


class Item:
    """What happens in the world at an instant; of a loop only if `_loop` says so."""

    __slots__ = ()
    _loop: ClassVar[Any] = None
    _send: ClassVar[Any] = None

    def _enter(self, _send: None, _value: None) -> None:
        raise NotImplementedError

    def _fail(self, error: BaseException) -> None:
        raise error

    _finish = _fail  # an item is no coroutine: a StopIteration that leaves it is an error like any other


class _Nothing(Item):
    """An item in a ready queue that does nothing, so that the run loop looks up."""

    __slots__ = ()

    def _enter(self, _send: None, _value: None) -> None:
        pass


NOTHING = _Nothing()


class Timer(Item):
    """A call of `fn(*args)` at an instant, outside of every event loop."""

    __slots__ = ("_args", "_environment", "_fn", "_when")

    def __init__(
        self, environment: Environment, when: int, fn: Callable[..., object], args: tuple[Any, ...]
    ) -> None:
        self._environment = environment
        self._when = when
        self._fn = fn
        self._args = args

    def _enter(self, _send: None, _value: None) -> None:
        CURRENT_TASKS.pop(self._environment.runner, None)
        self._fn(*self._args)

    def cancel(self) -> bool:
        """Take the call back; False when it has happened already."""
        return self._environment.remove(self._when, self)


class Deferred(Item):
    """Lets an item line up in its loop's ready queue at an instant."""

    __slots__ = ("_item",)

    def __init__(self, item: Any) -> None:
        self._item = item

    def _enter(self, _send: None, _value: None) -> None:
        loop = self._item._loop
        loop._ready.append(self._item if loop.is_awake() else self)


class _Occurrence(Item):
    """A SimPy event that happens."""

    __slots__ = ("_environment", "_event")

    def __init__(self, environment: Environment, event: Event) -> None:
        self._environment = environment
        self._event = event

    def _enter(self, _send: None, _value: None) -> None:
        event = self._event
        CURRENT_TASKS.pop(self._environment.runner, None)
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        for callback in callbacks:
            callback(event)
        if not event._ok and not hasattr(event, "_defused"):
            # SimPy would rebuild the error by type(e)(*e.args), which many exceptions do not survive.
            raise event._value


class _Urgency(Item):
    """Stands at the head of a ready queue for the urgent events, one of which happens at a time."""

    __slots__ = ("_environment",)

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def _enter(self, _send: None, _value: None) -> None:
        environment = self._environment
        if environment._urgents:
            item = environment._urgents.popleft()
            if environment._urgents:
                environment._announce_urgents()
            item._enter(None, None)


class Environment(simpy.Environment):
    """A `simpy.Environment` in integer nanoseconds; SimPy's own names count in seconds, as floats.

    `now`, `timeout`, `process`, resources and stores work as in SimPy's documentation. `now_ns`, `call_at`
    and `drive` are what the event loop and the bridge for blocking code stand on.
    """

    process = BoundClass(Process)
    timeout = BoundClass(Timeout)
    event = BoundClass(Event)
    all_of = BoundClass(AllOf)
    any_of = BoundClass(AnyOf)

    def __init__(
        self,
        *,
        time_bound_ns: int = FOREVER_NS,
        step_bound: int = 2**62,
        stalled_bound: int = 2**62,
    ) -> None:
        super().__init__(0)
        self._now: int = 0
        self._queue: list[int] = [time_bound_ns]  # type: ignore[assignment]
        self._slots: dict[int, Any] = {}
        self._urgents: deque[_Occurrence] = deque()
        self._urgent = 0
        self._urgency = _Urgency(self)
        self._batch = 0
        self._settled: VirtualLoop | None = None
        self._stalled = 0
        self._stalled_at = 0
        self._bound_ns = time_bound_ns
        self._step_bound = step_bound
        self._stalled_bound = stalled_bound
        self._recorded: Sized = ()
        self._operation_bound = sys.maxsize
        self.runner: VirtualLoop | None = None
        self.hub: greenlet | None = None
        self.steps = 0
        # Something else than the next ready callback wants a look: a stop, an urgent event, one due now.
        self.attention = False

    # -- the clock

    @property
    def now(self) -> float:
        """Virtual time in seconds since the run's start."""
        return self._now / NS_PER_SECOND

    @property
    def now_ns(self) -> int:
        """Virtual time in nanoseconds since the run's start."""
        return self._now

    def _read_clock(self) -> int:
        return self._now

    # -- the queue

    def push(self, when: int, item: Any) -> None:
        """Let `item` happen at `when` (nanoseconds); what is past happens now, the oldest first."""
        if when <= self._now:
            self.attention = True
            if when < self._now and self.runner is not None:
                self.runner._ready.append(NOTHING)  # so that it is let in before the clock would follow it
        other = self._slots.setdefault(when, item)
        if other is item:
            heappush(self._queue, when)
        else:
            self._crowd(when, other, item)

    def _crowd(self, when: int, other: Any, item: Any) -> None:
        if other.__class__ is Bucket:
            other.append(item)
        else:
            self._slots[when] = Bucket((other, item))

    def remove(self, when: int, item: Any) -> bool:
        """Take an item out of the queue; False when it is not in it."""
        found = self._slots.get(when)
        if found is item:
            del self._slots[when]
        elif found.__class__ is Bucket and item in found:
            found.remove(item)
            if not found:
                del self._slots[when]
        else:
            return False
        if len(self._queue) > 2 * len(self._slots) + _STALE_MIN:
            self._queue[:] = [*self._slots, self._bound_ns]
            heapify(self._queue)
        return True

    def holds(self, when: int, item: Any) -> bool:
        """Whether an item is in the queue for `when`."""
        found = self._slots.get(when)
        return found is item or (found.__class__ is Bucket and item in found)

    def forget(self, loop: VirtualLoop) -> None:
        """Drop all that is due for a loop."""
        self.drop(
            lambda item: item._loop is loop or (item.__class__ is Deferred and item._item._loop is loop)
        )

    def drop(self, is_unwanted: Callable[[Any], bool]) -> None:
        """Drop all items of which `is_unwanted` is true."""
        for when, item in list(self._slots.items()):
            if item.__class__ is Bucket:
                kept = [one for one in item if not is_unwanted(one)]
                item.clear()
                item.extend(kept)
                if not kept:
                    del self._slots[when]
            elif is_unwanted(item):
                del self._slots[when]

    def call_at(self, when: int, fn: Callable[..., object], *args: Any) -> Timer:
        """Call `fn(*args)` at `when` (nanoseconds), in the greenlet that runs the queue."""
        timer = Timer(self, max(self._now, when), fn, args)
        self.push(timer._when, timer)
        return timer

    # -- what SimPy asks of an environment

    def schedule(self, event: Event, priority: Any = NORMAL, delay: float = 0) -> None:
        """SimPy's door to the queue; `delay` in seconds."""
        item = _Occurrence(self, event)
        when = self._now + (round(delay * NS_PER_SECOND) if delay else 0)
        if priority != URGENT or when > self._now:
            self.push(when, item)
            return
        self._urgents.append(item)
        if len(self._urgents) == 1:
            self._announce_urgents()

    def _announce_urgents(self) -> None:
        if self.runner is not None:
            self.runner._ready.appendleft(self._urgency)
            self._urgent += 1
            self.attention = True

    def _push_first(self, item: Any) -> None:
        self.attention = True
        found = self._slots.get(self._now)
        if found is None:
            self.push(self._now, item)
        elif found.__class__ is Bucket:
            found.appendleft(item)
        else:
            self._slots[self._now] = Bucket((item, found))

    def peek(self) -> float:
        """The time of the next happening in seconds, infinity if there is none."""
        if self._urgents:
            return self.now
        return min(self._slots) / NS_PER_SECOND if self._slots else float("inf")

    def step(self) -> None:
        """Let the next thing happen.

        Raises:
            simpy.core.EmptySchedule: nothing is left to happen.
        """
        if not self._turn():
            raise simpy.core.EmptySchedule

    def run(self, until: Any = None) -> Any:
        """SimPy's `run`: until nothing is left, until a time in seconds, or until an event has happened."""
        if until is None:
            while self._turn():
                pass
            return None
        if not isinstance(until, Event):
            if until <= self.now:
                msg = f"until (={until}) must be > the current simulation time ({self.now})"
                raise ValueError(msg)
            until = Timeout(self, until - self.now)
        while until.callbacks is not None:
            if not self._turn():
                msg = f'No scheduled events left but "until" event was not triggered: {until}'
                raise RuntimeError(msg)
        if not until._ok:
            until._defused = True
            raise until._value
        return until._value

    # -- running

    def _turn(self) -> bool:
        """Let one item happen without running any loop's callbacks: those go to their loop's own queue."""
        if self._urgents:
            self._count(1)
            self._check_steps()
            self._urgency._enter(None, None)
            return True
        while self._slots:
            when = heappop(self._queue)
            item = self._slots.pop(when, None)
            if item is None:
                self._check_time(when)
                continue
            if item.__class__ is Bucket:
                item = self._first(when, item)
            self._now = max(self._now, when)
            self._count(1)
            self._check_steps()
            if item._loop is None:
                item._enter(None, None)
            else:
                item._loop._ready.append(item)
            return True
        return False

    def _first(self, when: int, bucket: Bucket) -> Any:
        item = bucket.popleft()
        if bucket:
            self._slots[when] = bucket
            heappush(self._queue, when)
        return item

    def run_blocked(self, is_done: Callable[[], bool]) -> None:
        """Let time pass for code that blocks in the very greenlet that runs the queue.

        The event loop that is blocked gets none of its callbacks meanwhile, as with a real blocking call.

        Raises:
            Deadlock: nothing is left to happen and `is_done()` is still false.
        """
        blocked, self.runner = self.runner, None
        if blocked is not None:
            blocked._awake = False
            self._give_back(blocked)
        try:
            while not is_done():
                if not self._turn():
                    raise Deadlock
        finally:
            self.runner = blocked
            if blocked is not None:
                blocked._awake = True

    def _give_back(self, loop: VirtualLoop) -> None:
        """Move what belongs to no loop from a loop's ready queue back to the world."""
        ready = loop._ready
        world = [item for item in ready if item._loop is None and item is not self._urgency]
        if world:
            own = [item for item in ready if item._loop is not None]
            ready.clear()
            ready.extend(own)
            for item in reversed(world):
                self._push_first(item)

    def drive(self, loop: VirtualLoop) -> None:
        """Run the world and `loop`'s callbacks until the loop is stopped.

        Order, as in asyncio: what is due at an instant, in the order set; then batches of ready callbacks.

        Raises:
            Deadlock, Livelock, TimeBoundReached, StepBoundReached, OperationBoundReached: the run cannot or may
                not go on.
        """
        outer, self.runner = self.runner, loop
        self.hub = getcurrent()
        if self._settled is not loop:
            self._settle(loop)
        loop._awake = True
        try:
            if self._queue[0] <= self._now:
                self._admit(loop._ready)
            self._batch, self.attention = len(loop._ready), True
            if self._urgents:
                self._announce_urgents()
            while not self._drive_chunk(loop):
                self._check_steps()
        finally:
            CURRENT_TASKS.pop(loop, None)
            loop._awake = False
            self.runner = outer
            if outer is not None:
                self._settled = outer

    def _settle(self, loop: VirtualLoop) -> None:
        """Only the loop that is driven may have bare tasks in the queue: wrap those of others."""
        if outer := self._settled:
            self._give_back(outer)
        self._settled = loop
        for when, item in self._slots.items():
            if item.__class__ is Bucket:
                for place, one in enumerate(item):
                    if one._loop is not None and one._loop is not loop:
                        item[place] = Deferred(one)
            elif item._loop is not None and item._loop is not loop:
                self._slots[when] = Deferred(item)

    def _drive_chunk(self, loop: VirtualLoop) -> bool:  # noqa: C901, PLR0912, PLR0915  (see below)
        """The hot loop. True when the loop was stopped, False when it is time to look at the bounds.

        It is one function and repeats no lookup because a simulation spends most of its time here.
        """
        queue, slots, ready, current = self._queue, self._slots, loop._ready, CURRENT_TASKS
        pop, push, replace, take, put = heappop, heappush, heapreplace, slots.pop, slots.setdefault
        next_ready, shortest, parked = ready.popleft, _SHORTEST, PARKED
        batch = self._batch
        size = min(_CHUNK_STEPS, self._step_bound - self.steps, self._stalled_bound, self._operation_bound)
        steps = repeat(None, size)
        try:
            for _ in steps:
                if ready:
                    due = None
                    if batch:
                        batch -= 1
                    elif not self.attention:
                        batch = len(ready) - 1
                    elif self._urgent:
                        batch, self._urgent = self._urgent - 1, 0
                    elif loop._stopping:
                        return True
                    else:
                        self._admit(ready)
                        batch = len(ready) - 1
                    item = next_ready()
                else:
                    # The instant stays in the heap until the item is through: a task that sleeps again, as
                    # most do, then takes its place with one sifting of the heap instead of two.
                    due = queue[0]
                    try:
                        item = take(due)
                    except KeyError:  # it was cancelled, or it is the bound
                        self._check_time(pop(queue))
                        continue
                    self._now = due
                current[loop] = item
                try:
                    enter = item._enter  # as a call of its own it would be looked up anew each time
                    wish = enter(item._send, None)
                except StopIteration as stop:
                    if queue[0] is due:
                        pop(queue)
                    item._finish(stop.value)
                except BaseException as error:  # noqa: BLE001  (it is the item's: a task keeps it)
                    if queue[0] is due:
                        pop(queue)
                    item._fail(error)
                else:
                    if wish.__class__ is float and wish >= shortest:
                        try:
                            item._when = when = self._now + wish.__round__()
                        except OverflowError:  # for ever
                            item._yielded(wish)
                            continue
                        if put(when, item) is not item:
                            self._crowd(when, slots[when], item)
                            if queue[0] is due:
                                pop(queue)
                        elif queue[0] is due:
                            replace(queue, when)
                        else:
                            push(queue, when)
                        continue
                    if queue[0] is due:
                        pop(queue)
                    if wish is None:
                        if item._send is not None:
                            ready.append(item)
                    elif wish.__class__ is Bucket:
                        ready.extendleft(reversed(wish.in_asyncios_order()))
                        batch += len(wish)
                    elif wish is not parked:
                        item._yielded(wish)
        finally:
            self._batch = batch
            self._count(size - length_hint(steps))
        return False

    def _admit(self, ready: deque[Any]) -> None:
        """Let what is due now line up behind what is ready, as asyncio does before each of its rounds."""
        self.attention = False
        while self._queue and self._queue[0] <= self._now:
            item = self._slots.pop(heappop(self._queue), None)
            if item.__class__ is Bucket:
                ready.extend(item.in_asyncios_order())
            elif item is not None:
                ready.append(item)
        if not self._queue:
            heappush(self._queue, self._bound_ns)

    def claim(self, loop: VirtualLoop) -> list[Any]:
        """Take out what is due now for a loop that another one's run loop does not run."""
        mine: list[Any] = []
        for when in sorted(one for one in self._slots if one <= self._now):
            item = self._slots[when]
            items = list(item) if item.__class__ is Bucket else [item]
            for one in items:
                if one._loop is loop:
                    self.remove(when, one)
                    mine.append(one)
        return mine

    # -- bounds

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self._now == self._stalled_at:
            self._stalled += steps
        else:
            self._stalled_at, self._stalled = self._now, 0

    def _check_steps(self) -> None:
        if self._stalled >= self._stalled_bound:
            raise Livelock(
                f"{self._stalled} steps were taken at virtual time {self.now} s without time moving on"
            )
        if self.steps >= self._step_bound:
            raise StepBoundReached(
                f"the run took {self.steps} steps, its bound, by virtual time {self.now} s"
            )
        if len(self._recorded) >= self._operation_bound:
            raise OperationBoundReached(
                f"the run recorded {len(self._recorded)} operations (its bound is {self._operation_bound}) by "
                f"virtual time {self.now} s; is something tried for ever? If not, raise the bound"
            )

    def bound_operations(self, recorded: Sized, bound: int) -> None:
        """End the run soon after as many operations are recorded: memory ends before time does."""
        self._recorded, self._operation_bound = recorded, bound

    def _check_time(self, when: int) -> None:
        """Tell a cancelled instant, when nothing happens, from the bound and the end of everything."""
        if when == self._bound_ns:
            heappush(self._queue, when)
        if not self._slots:
            raise Deadlock("nothing is left to happen")
        if when == self._bound_ns:
            self._now = when
            raise TimeBoundReached(f"the run reached its bound of {self.now} s of virtual time")

    def allow_cleanup(self, *, time_ns: int, steps: int) -> None:
        """Give code that cleans up after a run that hit a bound some room of its own."""
        self._bound_ns = self._now + time_ns
        heappush(self._queue, self._bound_ns)
        self._step_bound = self.steps + steps
        self._operation_bound = sys.maxsize
        self._stalled = 0
