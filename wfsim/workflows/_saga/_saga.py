"""The saga: steps in a row, each with what undoes it (Garcia-Molina and Salem, Sagas, SIGMOD 1987)."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import CompensationStuck, DesignError
from wfsim.history import Plain
from wfsim.kernel import perform, span
from wfsim.workflows._execute import execute
from wfsim.workflows._failure import note_once, origin_of
from wfsim.workflows._naming import checked_name, did_you_mean, name_of, unique
from wfsim.workflows._policy import Policy, ThreeTries, check_policy, perform_under
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wfsim.kernel import Nemesis

# After these nobody knows whether the step took effect. A lost reply is a TimeoutError, as it is to a client.
_UNKNOWN: Final = (TimeoutError, CancelledError)
_DEFAULT_COMPENSATE_RETRY: Final = ThreeTries()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a saga. ``Saga.add_step`` makes it and says what the fields mean."""

    name: str
    forward: Callable[..., Any]
    compensate: Callable[..., Any] | None
    retry: Policy | None
    compensate_retry: Policy
    compensate_unknown: bool
    forward_takes_context: bool
    compensate_takes_context: bool

    def describe(self) -> dict[str, Any]:
        """Give the step as plain data, for the history."""
        data: dict[str, Any] = {
            "name": self.name,
            "compensatable": self.compensate is not None,
            "retry": self.retry and self.retry.describe(),
        }
        if self.compensate is not None:
            data["compensate_retry"] = self.compensate_retry.describe()
            data["compensate_unknown"] = self.compensate_unknown
        return data


class Context(Mapping[str, Any]):
    """What a step may ask for: the results of the steps before it by name, and the saga's ``input``.

    A compensation also finds the ``error`` that made the saga turn back.
    """

    __slots__ = ("_results", "error", "input")

    def __init__(self, given: Any, results: dict[str, Any]) -> None:
        self.input = given
        self.error: BaseException | None = None
        self._results = results

    def __getitem__(self, name: str) -> Any:
        try:
            return self._results[name]
        except KeyError:
            done = ", ".join(self._results) or "none"
            hint = did_you_mean(name, self._results)
            raise KeyError(f"no step {name!r} has succeeded so far (succeeded: {done}){hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


class Saga:
    """Steps that run in a row; if one fails, those that succeeded are compensated, the last one first.

    ::

        saga = Saga("checkout")
        saga.add_step("reserve", forward=reserve, compensate=release)
        saga.add_step("charge", forward=charge, compensate=refund, retry=Retry(attempts=3))
        results = await saga.run(order)  # {"reserve": ..., "charge": ...}

    ``run`` gives the results by step. When a step fails, or the saga is cancelled, it compensates and then
    raises that error. A compensation that fails is tried again (``compensate_retry``); when that is in vain
    the others are compensated all the same, and CompensationStuck says what is left undone.
    """

    def __init__(self, name: str = "saga") -> None:
        self.name = checked_name(name, "a saga")
        self._steps: tuple[Step, ...] = ()
        self._data = Plain.of({"steps": []})

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they run."""
        return self._steps

    def add_step(
        self,
        name: str | None = None,
        *,
        forward: Callable[..., Any],
        compensate: Callable[..., Any] | None = None,
        retry: Policy | None = None,
        compensate_retry: Policy | None = None,
        compensate_unknown: bool = False,
    ) -> Self:
        """Add a step after those there are, and give the saga back.

        ``forward`` does the work, ``compensate`` undoes it: functions, coroutine functions or lambdas that
        return a coroutine. Each takes no argument, or one: the :class:`Context`. A step without a name is
        called as its function is, or as the one function that its lambda calls, else ``step-N``.

        ``retry`` wraps ``forward``; ``compensate_retry`` wraps ``compensate`` (without it: three tries, a
        tenth of a second apart). When a step ends in a timeout, a lost reply or a cancellation, nobody knows
        whether it took effect. Such a step is not compensated, unless ``compensate_unknown`` is set; its
        compensation must then cope with an effect that never was.

        Raise DesignError if the step cannot work.
        """
        title = self._name(name, forward)
        part = f"step {title!r} of saga {self.name!r}"
        check_policy(retry, f"retry of {part}")
        check_policy(compensate_retry, f"compensate_retry of {part}")
        if compensate is None and (compensate_retry is not None or compensate_unknown):
            raise DesignError(f"{part} says how to compensate, but not with what; add compensate=...")
        step = Step(
            name=title,
            forward=forward,
            compensate=compensate,
            retry=retry,
            compensate_retry=compensate_retry or _DEFAULT_COMPENSATE_RETRY,
            compensate_unknown=compensate_unknown,
            forward_takes_context=_takes_context(forward, f"forward of {part}"),
            compensate_takes_context=compensate is not None
            and _takes_context(compensate, f"compensate of {part}"),
        )
        self._steps = (*self._steps, step)
        self._data = Plain.of({"steps": [*self._data["steps"], step.describe()]})
        return self

    def _name(self, given: str | None, forward: Callable[..., Any]) -> str:
        taken = [step.name for step in self._steps]
        if given is None:
            return unique(name_of(forward) or f"step-{len(taken) + 1}", taken)
        if checked_name(given, f"a step of saga {self.name!r}") in taken:
            raise DesignError(f"saga {self.name!r} has a step {given!r} already; give this one another name")
        return given

    async def run(self, given: Any = None, /) -> dict[str, Any]:
        """Run the saga once. ``given`` is the ``input`` that steps find in their context."""
        if not self._steps:
            raise DesignError(
                f"saga {self.name!r} has no steps; add them with add_step(forward=..., compensate=...)"
            )
        with span("saga", self.name, self.name, data=self._data) as whole:
            return await _Run(self, given, whole).play()

    def execute(
        self, given: Any = None, /, *, seed: int = 0, nemesis: Nemesis | None = None
    ) -> dict[str, Any]:
        """Run the saga once in virtual time, and wait for it: the blocking form of ``run``.

        Blocking code inside a simulation runs it there, under that one's seed and
        faults. Raise DesignError inside a coroutine.
        """
        result: dict[str, Any] = execute("saga", self.run, (given,), seed, nemesis)
        return result

    def __repr__(self) -> str:
        return f"<Saga {self.name!r}: {', '.join(step.name for step in self._steps) or 'no steps'}>"


class _Run:
    """One run of a saga: how far it came, and the way back."""

    __slots__ = ("_context", "_done", "_in_doubt", "_results", "_saga", "_whole")

    def __init__(self, saga: Saga, given: Any, whole: span) -> None:
        self._saga = saga
        self._whole = whole
        self._results: dict[str, Any] = {}
        self._context = Context(given, self._results)
        self._done: list[Step] = []
        self._in_doubt = False  # whether a try of the step at hand may have taken effect though it failed

    async def play(self) -> dict[str, Any]:
        saga, results = self._saga, self._results
        for step in saga.steps:
            args = (self._context,) if step.forward_takes_context else ()
            try:
                if step.compensate_unknown:
                    results[step.name] = await self._in_view_of_doubt(step, args)
                else:
                    results[step.name] = await perform_under(
                        step.retry, "forward", saga.name, step.name, step.forward, args
                    )
            except (Exception, CancelledError) as error:
                await self._turn_back(step, error)
                raise
            self._done.append(step)
        return results

    async def _in_view_of_doubt(self, step: Step, args: tuple[Any, ...]) -> Any:
        """Perform a step and notice whether any try of it, not only the last, ended in doubt."""
        self._in_doubt = False
        design, name = self._saga.name, step.name

        async def attempt(number: int, cause: int | None = None, /) -> Any:
            try:
                return await perform(
                    "forward", design, name, step.forward, *args, attempt=number, cause=cause
                )
            except _UNKNOWN:
                self._in_doubt = True
                raise

        return await (attempt(1) if step.retry is None else step.retry.run(attempt, design=design, name=name))

    async def _turn_back(self, failed: Step, error: BaseException) -> None:
        """Compensate what was done, the last first. Raise CompensationStuck if something stays undone."""
        self._context.error = error
        if failed.compensate_unknown and self._in_doubt:
            self._done.append(failed)
        undo = [step for step in reversed(self._done) if step.compensate is not None]
        undone: dict[str, Exception] = {}
        left = [step.name for step in undo]
        cause = origin_of(error)
        try:
            for step in undo:
                await self._compensate(step, cause, undone)
                left.remove(step.name)
        finally:  # also when the way back is cancelled, nobody must lose sight of what is left
            self._tell(failed, error, [step.name for step in undo], [*undone, *left])
        if undone:
            raise CompensationStuck(tuple(undone), next(iter(undone.values())), self._saga.name) from error

    async def _compensate(self, step: Step, cause: int | None, undone: dict[str, Exception]) -> None:
        args = (self._context,) if step.compensate_takes_context else ()
        fn: Any = step.compensate
        try:
            await perform_under(
                step.compensate_retry, "compensate", self._saga.name, step.name, fn, args, cause
            )
        except Exception as error:  # noqa: BLE001 - the other steps are compensated all the same
            undone[step.name] = error

    def _tell(self, failed: Step, error: BaseException, undo: list[str], undone: list[str]) -> None:
        """Say in the history and on the error how the way back went."""
        self._whole.data = {"failed": failed.name} | ({"undone": undone} if undone else {})
        compensated = ", ".join(name for name in undo if name not in undone) or "nothing"
        left = f"; left undone: {', '.join(undone)}" if undone else ""
        note = f"saga {self._saga.name!r} failed at step {failed.name!r}; compensated: {compensated}{left}"
        note_once(error, note)


def _takes_context(fn: Callable[..., Any], part: str) -> bool:
    wanted = takes(fn, part)
    if wanted.least > 1:
        raise DesignError(
            f"{part} takes {wanted}; a step takes none, or one: the context with the earlier results"
        )
    return wanted.least == 1
