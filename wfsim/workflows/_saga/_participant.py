"""One participant of a saga without an orchestrator: it does its step when it hears that its turn has come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import SagaFailed
from wfsim.workflows._saga._attempts import Attempts
from wfsim.workflows._saga._context import Context
from wfsim.workflows._saga._log import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wfsim.storage import Journal
    from wfsim.workflows._saga._saga import Saga
    from wfsim.workflows._saga._step import Step
    from wfsim.workflows._saga._wire import Wire

OVER: Final = ("failed", "undone", "stuck")
"""What a participant tells when nothing of it stands any more, or nothing can be done about it."""


@dataclass(slots=True)
class _View:
    """What a participant knows of one instance: what it heard, and what it has done itself."""

    key: str
    given: Any = None
    results: dict[str, Any] = field(default_factory=dict)
    heard: dict[tuple[str, str], Any] = field(default_factory=dict)
    """What happened to which step."""
    state: str = ""
    """Its own last word: "", "begun", "done", "failed", "undone", "stuck"."""
    told: dict[str, Any] = field(default_factory=dict)
    words: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """What it has to tell and has not told yet."""

    def apply(self, record: Mapping[str, Any]) -> None:
        """Take one record of the journal into account."""
        if record["what"] == "heard":
            self.given = record["input"]
            self.results |= record["results"]
            self.heard[record["of"], record["step"]] = record.get("error")
        else:
            self.state, self.told = record["what"], dict(record.get("told", {}))

    @property
    def failure(self) -> tuple[str, str] | None:
        """The step that failed and its error, None while none is known to have."""
        return next(((step, str(error)) for (of, step), error in self.heard.items() if of == "failed"), None)


class Participant:
    """Serves one step. It remembers in the saga's journal; without one, for as long as it is there."""

    def __init__(self, saga: Saga, step: Step, wire: Wire) -> None:
        self._saga = saga
        self._step = step
        self._wire = wire
        self._views: dict[str, _View] = {}
        self._lines: dict[str, asyncio.Lock] = {}
        self._before = _nearest(saga, step) or [""]
        self._after = [one.name for one in saga.steps if step.name in _nearest(saga, one)]

    def subscribe(self) -> None:
        """Listen: for what comes before, for any failure, and for what comes after to be undone."""
        name = self._step.name
        for before in self._before:
            self._listen("done" if before else "started", before)
        for other in self._saga.steps:
            if other.name != name:
                self._listen("failed", other.name)
        for after in self._after:
            self._listen("undone", after)
            self._listen("stuck", after)

    def _listen(self, of: str, step: str) -> None:
        async def hear(payload: Mapping[str, Any]) -> None:
            await self._hear(of, step, payload)

        self._wire.hear(self._step.name, of, step, hear)

    async def _hear(self, of: str, step: str, payload: Mapping[str, Any]) -> None:
        """Take in one event of one instance. What is heard twice makes it say its last word once more."""
        key = str(payload["key"])
        async with self._lines.setdefault(key, asyncio.Lock()):
            view = await self._view(key)
            is_news = (of, step) not in view.heard
            if is_news:
                await self._note(
                    view,
                    {
                        "what": "heard",
                        "of": of,
                        "step": step,
                        "input": payload.get("input"),
                        "results": dict(payload.get("results") or {}),
                        "error": payload.get("error"),
                    },
                )
            # What is repeated on the way forward is answered forward, on the way back only back: no echo returns.
            answers = ("done", *OVER) if of in {"started", "done"} else ("undone", "stuck")
            if not is_news and view.state in answers:
                self._word(view)
            await self._act(view)
            words, view.words = view.words, []
        for (
            what,
            told,
        ) in words:  # outside the lock: a bus may call others, and they this one, before it returns
            await self._wire.tell(what, self._step.name, told)

    async def _act(self, view: _View) -> None:
        ready = all(("done" if name else "started", name) in view.heard for name in self._before)
        if view.state == "begun" or (view.state == "" and view.failure is None and ready):
            await self._forward(view)
        elif view.state == "" and view.failure is not None:
            await self._say(view, "undone")  # it never began, and now it never will
        if view.state == "done" and view.failure is not None and self._is_its_turn_back(view):
            await self._back(view)

    def _is_its_turn_back(self, view: _View) -> bool:
        """Tell whether nothing stands any more of the steps that came after it."""
        return all(any((of, name) in view.heard for of in OVER) for name in self._after)

    # -- its work

    async def _forward(self, view: _View) -> None:
        step, name = self._step, self._step.name
        cut_off = view.state == "begun"  # a crash left open whether it took effect
        if not cut_off:
            await self._note(view, {"what": "begun"})
        context = self._context(view)
        args = (context,) if step.forward_takes_context else ()
        tries = self._attempts("forward", step.forward, args, step.timeout_s, view)
        try:
            value = await tries.under(step.retry)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others must hear of it
            half_done = not step.atomic or (step.compensate_unknown and (tries.in_doubt or cut_off))
            stood = [other for other in self._saga.steps if other.name in self._saga.befores[name]]
            if any(not other.leaves_no_trace for other in stood):
                await self._say(view, "stuck", error=in_words(error), ahead=True)
            else:
                if half_done and step.compensate is not None:
                    await self._undo(view, error)
                await self._say(view, "failed", error=in_words(error))
        else:
            await self._say(view, "done", value=value)

    async def _back(self, view: _View) -> None:
        failed, error = view.failure or ("", "")
        if self._step.compensate is None:
            await self._say(view, "undone")
            return
        failure = await self._undo(view, SagaFailed(self._saga.name, failed, error))
        if failure is None:
            await self._say(view, "undone")
        else:
            await self._say(view, "stuck", error=in_words(failure))

    async def _undo(self, view: _View, error: BaseException) -> Exception | None:
        """Compensate; give the error if that failed for good."""
        step, fn = self._step, self._step.compensate
        assert fn is not None  # noqa: S101 - asked before
        context = self._context(view, error)
        args = (context,) if step.compensate_takes_context else ()
        tries = self._attempts("compensate", fn, args, step.compensate_timeout_s, view)
        try:
            await tries.under(step.compensate_retry)
        except Exception as failure:  # noqa: BLE001 - it is told, and the others go on
            return failure
        return None

    def _context(self, view: _View, error: BaseException | None = None) -> Context:
        results = dict(view.results)
        if "value" in view.told:
            results[self._step.name] = view.told["value"]
        return Context(view.given, results, self._saga.name, view.key).at(self._step.name, error=error)

    def _attempts(self, kind: str, fn: Any, args: Any, timeout_s: float | None, view: _View) -> Attempts:
        name, data = self._step.name, {"key": view.key}
        return Attempts(kind, self._saga.name, name, fn, args, timeout_s=timeout_s, data=data)

    # -- its word

    async def _say(self, view: _View, what: str, **told: Any) -> None:
        await self._note(view, {"what": what, "told": told} if told else {"what": what})
        self._word(view)

    def _word(self, view: _View) -> None:
        results = dict(view.results)
        if view.state == "done":
            results[self._step.name] = view.told.get("value")
        payload = {"key": view.key, "input": view.given, "results": results}
        told = {name: value for name, value in view.told.items() if name != "value"}
        view.words.append((view.state, payload | told))

    # -- its memory

    @property
    def _journal(self) -> Journal | None:
        return self._saga.journal

    def _file(self, key: str) -> str:
        return f"participant/{self._saga.name}/{self._step.name}/{key}"

    async def _view(self, key: str) -> _View:
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = _View(key)
            if self._journal is not None:
                for record in await self._journal.read(self._file(key)):
                    view.apply(record)
        return view

    async def _note(self, view: _View, record: dict[str, Any]) -> None:
        view.apply(record)
        if self._journal is not None:
            await self._journal.append(self._file(view.key), record)


def _nearest(saga: Saga, step: Step) -> list[str]:
    """Give the steps right before a step; those further off come before these, and add nothing."""
    return [name for name in step.after if not any(name in saga.befores[other] for other in step.after)]
