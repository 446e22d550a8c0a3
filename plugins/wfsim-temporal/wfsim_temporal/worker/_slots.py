"""A worker's slots: how many tasks of a kind it does at once, as its tuner says.

Fixed numbers are kept. Slots by resources are as many as their maximum: no machine is simulated that could be
short of memory. Custom suppliers are asked as Core asks them, one slot ahead, and hear of every use and release.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from temporalio.worker import (
    CustomSlotSupplier,
    FixedSizeSlotSupplier,
    SlotReleaseContext,
    WorkerTuner,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from wfsim_temporal.worker._session import Session

_LOG: Final = logging.getLogger(__name__)
_RESOURCE_SLOTS: Final = 500
_AGAIN_AFTER_S: Final = 1.0
_TUNER_EXCLUDES: Final = (
    "max_concurrent_workflow_tasks",
    "max_concurrent_activities",
    "max_concurrent_local_activities",
    "max_concurrent_nexus_tasks",
)


@dataclass(frozen=True, slots=True)
class WorkflowSlot:
    """What a slot is used for: a workflow task."""

    workflow_type: str
    is_sticky: bool


@dataclass(frozen=True, slots=True)
class ActivitySlot:
    """What a slot is used for: an attempt of an activity, or of a local one."""

    activity_type: str


@dataclass(frozen=True, slots=True)
class NexusSlot:
    """What a slot is used for: a Nexus request."""

    service: str
    operation: str


_USED_FOR: Final[dict[str, Any]] = {
    "workflow": WorkflowSlot,
    "activity": ActivitySlot,
    "local-activity": ActivitySlot,
    "nexus": NexusSlot,
}


@dataclass(frozen=True, slots=True)
class _Reserve:
    slot_type: str
    task_queue: str
    worker_identity: str
    worker_build_id: str
    worker_deployment_version: Any
    is_sticky: bool = False


@dataclass(frozen=True, slots=True)
class _Used:
    slot_info: Any
    permit: Any


class Slots:
    """A fixed number of slots. ``on_room`` is called when there is room again after there was none."""

    def __init__(self, limit: int, on_room: Callable[[], object]) -> None:
        self._limit = limit
        self._used = 0
        self._on_room = on_room
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return self._used < self._limit

    @property
    def has_eager(self) -> bool:
        """Whether there is one for a task that nobody polled for."""
        return self.has_room

    def try_reserve(self) -> bool:
        """Reserve a slot for a task that nobody polls for; tell whether there is one at once."""
        return self.has_room

    def unreserve(self) -> None:
        """Give back what ``try_reserve`` reserved: the server sent no task."""

    def take(self, *what: Any) -> Any:  # noqa: ARG002 - what a custom supplier is told
        """Use a free slot for a task: what it does, as the kind of slot has it. Give what gives it back."""
        self._used += 1

    def give_back(self, held: Any) -> None:  # noqa: ARG002 - as above
        """Free a slot."""
        self._used -= 1
        if self._waiting:
            self._wake_next()
        elif self._used == self._limit - 1:
            self._on_room()

    async def acquire(self, *what: Any) -> Any:
        """Wait for a slot, in turn, and use it."""
        if self._waiting or not self.has_room:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
            self._waiting.popleft()
        held = self.take(*what)
        self._wake_next()
        return held

    def _wake_next(self) -> None:
        if self._waiting and self.has_room and not self._waiting[0].done():
            self._waiting[0].set_result(None)

    def end(self) -> None:
        """Take no more: the worker shuts down."""

    def lose(self) -> None:
        """Give back what is in use: the worker has died with it."""


class CustomSlots(Slots):
    """Slots of a supplier of the user's own, which may wait before it permits one."""

    def __init__(
        self, supplier: CustomSlotSupplier, context: Any, session: Session, on_room: Callable[[], object]
    ) -> None:
        super().__init__(0, on_room)
        self._supplier = supplier
        self._context = context
        self._session = session
        self._permit: Any = None
        self._eager: deque[Any] = deque()
        self._in_use: list[_Used] = []
        self._is_ended = False
        self._task = session.spawn(self._reserve())

    async def _reserve(self) -> None:
        while True:
            try:
                self._permit = await self._supplier.reserve_slot(self._context)
                break
            except Exception:  # noqa: BLE001 - whatever the user's code raises, Core goes on
                _LOG.warning("Error in custom slot supplier `reserve_slot`", exc_info=True)
                await asyncio.sleep(_AGAIN_AFTER_S)
        self._wake_next()
        self._on_room()

    @property
    def has_room(self) -> bool:
        """Whether the supplier has permitted one that is not used yet."""
        return self._permit is not None

    @property
    def has_eager(self) -> bool:
        """See Slots."""
        return bool(self._eager)

    def try_reserve(self) -> bool:
        """See Slots."""
        permit = self._ask(self._supplier.try_reserve_slot, self._context)
        if permit is None:
            return False
        self._eager.append(permit)
        return True

    def unreserve(self) -> None:
        """See Slots."""
        if self._eager:
            self._release(None, self._eager.popleft())

    def take(self, *what: Any) -> Any:
        """See Slots."""
        info = _USED_FOR[self._context.slot_type](*what)
        if self._eager:
            used = _Used(info, self._eager.popleft())
        else:
            used, self._permit = _Used(info, self._permit), None
            if not self._is_ended:
                self._task = self._session.spawn(self._reserve())
        self._in_use.append(used)
        self._ask(self._supplier.mark_slot_used, used)
        return used

    def give_back(self, held: Any) -> None:
        """See Slots. What the worker has lost was given back then."""
        if held in self._in_use:
            self._in_use.remove(held)
            self._release(held.slot_info, held.permit)

    def end(self) -> None:
        """Give back what is reserved and not used."""
        self._is_ended = True
        self._task.cancel()
        if self._permit is not None:
            self._release(None, self._permit)
            self._permit = None
        while self._eager:
            self.unreserve()

    def lose(self) -> None:
        """See Slots. The supplier outlives the worker's process, so it has to hear of it."""
        self.end()
        for held in tuple(self._in_use):
            self.give_back(held)

    def _release(self, info: Any, permit: Any) -> None:
        self._ask(self._supplier.release_slot, SlotReleaseContext(slot_info=info, permit=permit))

    @staticmethod
    def _ask(method: Callable[[Any], Any], context: Any) -> Any:
        try:
            return method(context)
        except Exception:  # noqa: BLE001 - as above
            _LOG.warning("Error in custom slot supplier `%s`", method.__name__, exc_info=True)


def tuner_of(config: Mapping[str, Any]) -> WorkerTuner:
    """Give a worker's tuner, or make the one that its arguments stand for. Raises ValueError if it has both."""
    tuner: WorkerTuner | None = config["tuner"]
    if tuner is None:
        return WorkerTuner.create_fixed(
            workflow_slots=config["max_concurrent_workflow_tasks"],
            activity_slots=config["max_concurrent_activities"],
            local_activity_slots=config["max_concurrent_local_activities"],
            nexus_slots=config.get("max_concurrent_nexus_tasks"),
        )
    if any(config.get(name) for name in _TUNER_EXCLUDES):
        *others, last = _TUNER_EXCLUDES
        raise ValueError(f"Cannot specify {', '.join(others)}, or {last} when also specifying tuner")
    return tuner


class SlotsOf:
    """The slots of one life of a worker, by kind of task."""

    def __init__(self, tuner: WorkerTuner, session: Session) -> None:
        self._session = session
        self.workflow = self._make(tuner._get_workflow_task_slot_supplier(), "workflow")
        self.activity = self._make(tuner._get_activity_task_slot_supplier(), "activity")
        self.local_activity = self._make(tuner._get_local_activity_task_slot_supplier(), "local-activity")
        self.nexus = self._make(tuner._get_nexus_slot_supplier(), "nexus")
        self._all = (self.workflow, self.activity, self.local_activity, self.nexus)

    def _make(self, supplier: Any, kind: str) -> Slots:
        session = self._session
        if isinstance(supplier, FixedSizeSlotSupplier) or (kind == "nexus" and not session.worker.runs_nexus):
            return Slots(getattr(supplier, "num_slots", 0), session.serve_soon)
        if isinstance(supplier, CustomSlotSupplier):
            worker = session.worker
            context = _Reserve(kind, worker.task_queue, worker.identity, worker.build_id, worker.version)
            return CustomSlots(supplier, context, session, session.serve_soon)
        return Slots(supplier.slot_config.maximum_slots or _RESOURCE_SLOTS, session.serve_soon)

    def end(self) -> None:
        """Take no more: the worker shuts down."""
        for one in self._all:
            one.end()

    def lose(self) -> None:
        """Give back all that the suppliers have permitted: the worker has died."""
        for one in self._all:
            one.lose()
