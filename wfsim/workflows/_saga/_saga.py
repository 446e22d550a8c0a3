"""The saga: steps, each with what undoes it (Garcia-Molina and Salem, Sagas, SIGMOD 1987)."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Literal

from wfsim.errors import DesignError
from wfsim.history import Plain
from wfsim.kernel import begin, end, perform_in, span
from wfsim.storage import Journal
from wfsim.units import NS_PER_SECOND
from wfsim.workflows._execute import execute
from wfsim.workflows._naming import checked_name, did_you_mean, name_of, unique
from wfsim.workflows._saga import _options as options
from wfsim.workflows._saga._context import Context
from wfsim.workflows._saga._laws import check_against, check_step
from wfsim.workflows._saga._lives import resume, start, undo
from wfsim.workflows._saga._nested import Nested
from wfsim.workflows._saga._plain import PlainRun
from wfsim.workflows._saga._step import Step
from wfsim.workflows._signature import takes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Self

    from wfsim.kernel import AfterFailure, Nemesis
    from wfsim.units import Duration
    from wfsim.workflows._policy import Policy
    from wfsim.workflows._saga._locks import Claim

# What a run needs of a step: its name, how it is recorded, its function, whether that takes the context, its policy.
_InRow = tuple[str, tuple[str, str, str], "Callable[..., Any]", bool, "AfterFailure | None"]
Recovery = Literal["backward", "forward"]

_RECOVERIES: Final = ("backward", "forward")


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

    With a ``journal`` each step is written down before it begins and after it has ended. When its process
    has crashed, ``run`` with the same key, ``resume`` or ``recover`` carry the instance on: no step is forgotten,
    and one that may have taken effect is tried again with the same idempotency key. If it then fails, that is
    believed, for a service that had done the work of this key would say so; unless ``compensate_unknown`` is set.
    ``key`` is a function from the input to the name of the instance; without it a text or number given as
    input is the name.

    ``timeout`` limits the way forward: then the saga turns back, unless it is past the point where it can. With
    a journal it counts from the first start, on the wall clock.
    ``recovery="forward"`` makes every step retriable: such a saga never turns back and compensates nothing.
    """

    def __init__(
        self,
        name: str = "saga",
        *,
        journal: Journal | None = None,
        key: Callable[[Any], Any] | None = None,
        timeout: Duration | None = None,
        recovery: Recovery = "backward",
    ) -> None:
        self.name = checked_name(name, "a saga")
        if journal is not None and (isinstance(journal, type) or not isinstance(journal, Journal)):
            raise DesignError(
                f"journal of saga {name!r} is {journal!r}, which has no append and read; "
                "write for example journal=MemoryJournal() or SQLiteJournal('sagas.db')"
            )
        if key is not None and not takes(key, f"key of saga {name!r}").fits(1):
            raise DesignError(
                f"key of saga {name!r} must be a function from the input to the instance's name"
            )
        if recovery not in _RECOVERIES:
            raise DesignError(
                f"recovery={recovery!r} of saga {name!r} is unknown; allowed: {', '.join(_RECOVERIES)}"
            )
        self.journal = journal
        self.timeout_s = options.seconds(f"timeout of saga {name!r}", timeout)
        self.recovery = recovery
        self._key = key
        self._steps: tuple[Step, ...] = ()
        self._befores: dict[str, frozenset[str]] = {}
        limit = {} if self.timeout_s is None else {"timeout_ns": round(self.timeout_s * NS_PER_SECOND)}
        self._described = Plain.of({**limit, "steps": []})
        self._is_plain = journal is None and self.timeout_s is None
        # The steps of a saga that is plain and whose policies only decide what follows a failure, else nothing.
        self._row: tuple[_InRow, ...] = ()
        self._who = ("saga", self.name, self.name)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps in the order in which they were added; in a saga without branches, in which they run."""
        return self._steps

    @property
    def befores(self) -> Mapping[str, frozenset[str]]:
        """For each step all the steps, near and far, that have succeeded before it begins."""
        return self._befores

    @property
    def data(self) -> Mapping[str, Any]:
        """What the history says of the saga when a run of it begins."""
        return self._described

    @property
    def is_plain(self) -> bool:
        """Whether its steps run in a row and there is nothing to remember beyond a run."""
        return self._is_plain

    def step(self, name: str) -> Step:
        """Give the step of this name. Raise DesignError if there is none."""
        for step in self._steps:
            if step.name == name:
                return step
        names = [step.name for step in self._steps]
        raise DesignError(f"saga {self.name!r} has no step {name!r}{did_you_mean(name, names)}")

    def add_step(
        self,
        name: str | None = None,
        *,
        forward: Callable[..., Any],
        compensate: Callable[..., Any] | None = None,
        retry: Policy | None = None,
        compensate_retry: Policy | None = None,
        compensate_unknown: bool = False,
        pivot: bool = False,
        retriable: bool = False,
        read_only: bool = False,
        atomic: bool = True,
        depends_on: Iterable[str] | None = None,
        timeout: Duration | None = None,
        compensate_timeout: Duration | None = None,
        locks: Claim | Iterable[Claim] = (),
        reads: Claim | Iterable[Claim] = (),
    ) -> Self:
        """Add a step after those there are, and give the saga back.

        ``forward`` does the work, ``compensate`` undoes it: functions, coroutine functions or lambdas that
        return a coroutine. Each takes no argument, or one: the :class:`Context`. A step without a name is
        called as its function is, or as the one function that its lambda calls, else ``step-N``.

        ``retry`` wraps ``forward``; ``compensate_retry`` wraps ``compensate`` (without it: three tries, a
        tenth of a second apart). ``timeout`` and ``compensate_timeout`` limit each try.

        When a step ends in a timeout, a lost reply or a cancellation, nobody knows whether it took effect.
        Such a step is not compensated, unless ``compensate_unknown`` is set; its compensation must then cope
        with an effect that never was. ``atomic=False`` says that a step may fail half done: then it is
        compensated also when it failed.

        The words of the pattern (C. Richardson, Microservices Patterns, 2018): a *compensatable* step has
        ``compensate``. The ``pivot`` decides: once it has succeeded the saga only goes forward. A ``retriable``
        step is tried until it succeeds (or as often as its ``retry`` says; then CompletionStuck is raised). A
        ``read_only`` step leaves nothing to undo. A step without compensation that is none of these is a
        pivot too, if all that can fail comes before it; else the design is refused.

        ``depends_on`` names the steps that must have succeeded before this one begins; without it a step waits
        for all that were added before it, with ``[]`` for none. Steps that do not wait for each other run
        side by side, and so do their compensations: a step is compensated after all that depended on it.

        ``locks`` and ``reads`` come from a :class:`LockTable`.

        Raise DesignError if the step cannot work, or makes a run possible that could neither finish nor turn
        back.
        """
        title = self._name(name, forward)
        part = f"step {title!r} of saga {self.name!r}"
        self._check_recovery(part, retriable=retriable, pivot=pivot, compensate=compensate)
        retriable = retriable or self.recovery == "forward"
        return self._add(
            Step(
                name=title,
                **options.way_forward(part, forward, retry, timeout, retriable=retriable),
                **options.way_back(
                    part, compensate, compensate_retry, compensate_timeout, unknown=compensate_unknown
                ),
                **options.order(part, depends_on, tuple(self._befores)),
                pivot=pivot,
                read_only=read_only,
                atomic=atomic,
                locks=options.claims(part, "lock", locks),
                reads=options.claims(part, "read", reads),
            )
        )

    def add_saga(
        self,
        saga: Saga,
        *,
        name: str | None = None,
        given: Callable[[Context], Any] | None = None,
        compensate_retry: Policy | None = None,
        depends_on: Iterable[str] | None = None,
        timeout: Duration | None = None,
    ) -> Self:
        """Add a whole saga as one step, and give this saga back.

        Its result is the inner saga's results by step; its compensation compensates all of the inner saga.
        If that has a pivot, so that it cannot be undone as a whole, the step counts as a pivot here. ``given``
        makes the inner saga's input from the context; without it, it is this saga's input. The inner saga as it
        is now is added: steps that it gets later are not. It keeps its records in this saga's journal.

        Raise DesignError as ``add_step`` does.
        """
        title, part = self._name_of_saga(saga, name)
        if given is not None and not takes(given, f"given of {part}").fits(1):
            raise DesignError(
                f"given of {part} must be a function from the context to the inner saga's input"
            )
        retriable = all(step.retriable for step in saga.steps)
        if self.recovery == "forward" and not retriable:
            raise DesignError(f"{part} may fail for good; make saga {saga.name!r} recovery='forward' too")
        journal = self.journal or saga.journal
        inner = Nested(copy.copy(saga), given, journal)
        undoes = inner.compensate if saga.can_be_undone and self.recovery == "backward" else None
        # Whether an inner saga in doubt has completed, its journal tells.
        in_doubt = undoes is not None and journal is not None
        step = Step(
            name=title,
            **options.way_forward(part, inner.forward, None, timeout, retriable=False),
            **options.way_back(part, undoes, compensate_retry, unknown=in_doubt),
            **options.order(part, depends_on, tuple(self._befores)),
            saga=saga,
        )
        return self._add(replace(step, retriable=retriable))

    @property
    def can_be_undone(self) -> bool:
        """Whether the saga can be compensated as a whole after it has completed."""
        return all(step.leaves_no_trace and not step.pivot for step in self._steps)

    def _add(self, step: Step) -> Self:
        check_step(step, self.name)
        befores = frozenset().union(step.after, *(self._befores[name] for name in step.after))
        known = {**self._befores, step.name: befores}
        check_against(step, self._steps, known, self.name)
        self._befores = known
        self._steps = (*self._steps, step)
        self._described = Plain.of({**self._described, "steps": [*self._described["steps"], step.describe()]})
        self._is_plain = self._is_plain and step.is_plain
        is_first_or_in_row = bool(self._row) or len(self._steps) == 1
        simple = self._is_plain and self._key is None and not step.asks_policy and is_first_or_in_row
        self._row = (*self._row, self._in_row(step)) if simple else ()
        return self

    def _in_row(self, step: Step) -> _InRow:
        after_failure = getattr(step.retry, "after_failure", None)
        who = ("forward", self.name, step.name)
        return step.name, who, step.forward, step.forward_takes_context, after_failure

    def _name(self, given: str | None, forward: Callable[..., Any] | None) -> str:
        taken = [step.name for step in self._steps]
        if given is None:
            return unique(name_of(forward) or f"step-{len(taken) + 1}", taken)
        if checked_name(given, f"a step of saga {self.name!r}") in taken:
            raise DesignError(f"saga {self.name!r} has a step {given!r} already; give this one another name")
        return given

    def _name_of_saga(self, saga: Any, name: str | None) -> tuple[str, str]:
        """Give the name of the step that a saga is to be, and how to call it in an error."""
        if not isinstance(saga, Saga):
            raise DesignError(
                f"add_saga of saga {self.name!r} takes a saga, not {saga!r}; for a step use add_step"
            )
        title = self._name(name or unique(saga.name, self._befores), None)
        part = f"step {title!r} of saga {self.name!r}"
        if not saga.steps:
            raise DesignError(f"{part}: saga {saga.name!r} has no steps; add them first")
        return title, part

    def _check_recovery(self, part: str, *, retriable: bool, pivot: bool, compensate: object) -> None:
        if self.recovery == "forward" and (pivot or compensate is not None):
            what = "pivot=True" if pivot else "compensate"
            raise DesignError(
                f"{part} has {what}, but with recovery='forward' the saga never turns back; drop one"
            )
        if retriable and self.recovery == "forward":
            raise DesignError(f"{part} need not say retriable=True: with recovery='forward' every step is")

    # -- running

    async def run(self, given: Any = None, /, *, key: object = None) -> dict[str, Any]:
        """Run one instance and give its results by step. ``given`` is the ``input`` that steps find.

        ``key`` names the instance. With a journal, an instance that it knows is carried on; one that has ended
        is not run again: its results are given once more, or SagaFailed is raised.
        """
        if not self._row or key is not None:
            self._check_ready()
            return await start(self, given, self.key_of(given, key), self.journal)
        # As most sagas run: here and in one coroutine, because of all that a saga does this is done most.
        results: dict[str, Any] = {}
        context: Context | None = None
        where = begin(self._who, 1, None, self._described)
        try:
            for name, who, forward, takes_context, after_failure in self._row:
                args: tuple[Any, ...] = ()
                if takes_context:
                    context = context or Context(given, results, self.name, None)
                    context.step = name
                    args = (context,)
                results[name] = await perform_in(where, who, forward, args, after_failure)
        except (Exception, asyncio.CancelledError) as error:
            context = context or Context(given, results, self.name, None)
            done, failed = self._steps[: len(results)], self._steps[len(results)]
            with span.begun(where) as whole:
                await PlainRun(self, context, whole, list(done)).turn_back(failed, error)
                raise
        end(where)
        return results

    async def resume(self, key: object) -> dict[str, Any]:
        """Carry on the instance of this name, with the input that the journal holds, to its end.

        Raise DesignError without a journal, or if that does not know the instance.
        """
        self._check_ready()
        return await resume(self, str(key), self._journal_for("resume"))

    async def recover(self) -> dict[str, Any]:
        """Carry on all instances that the journal knows and that have not ended, side by side.

        Give by key the results, or the error that was raised. The journal must be able to list its
        keys (``await journal.keys()``), as those of ``wfsim.storage`` are.
        """
        self._check_ready()
        journal: Any = self._journal_for("recover")
        if not callable(getattr(journal, "keys", None)):
            raise DesignError(
                f"journal of saga {self.name!r} cannot list its keys; call resume(key) for each"
            )
        prefix = f"{self.name}/"
        keys = [name.removeprefix(prefix) for name in await journal.keys() if name.startswith(prefix)]
        due = [key for key in keys if not await _has_ended(journal, f"{prefix}{key}")]
        ended = await asyncio.gather(*(resume(self, key, journal) for key in due), return_exceptions=True)
        return dict(zip(due, ended, strict=True))

    async def compensate(
        self, given: Any = None, /, *, key: object = None, results: Mapping[str, Any] | None = None
    ) -> None:
        """Undo an instance that has completed, as a whole, in reverse order. To do it again changes nothing.

        Without a journal, ``results`` are those that its run gave. Raise DesignError if a step of it cannot
        be undone, CompensationStuck if some could not.
        """
        self._check_ready()
        if not self.can_be_undone:
            raise DesignError(
                f"saga {self.name!r} cannot be compensated as a whole: it has a pivot, or a step that nothing undoes"
            )
        if self.journal is None and results is None:
            raise DesignError(
                f"saga {self.name!r} has no journal, so compensate needs what run() gave: results=..."
            )
        name = self.key_of(given, key)
        if name is None:
            raise DesignError(f"compensate of saga {self.name!r} needs the key of the instance: key=...")
        await undo(self, given, name, None if results is None else dict(results), self.journal, None)

    def execute(
        self,
        given: Any = None,
        /,
        *,
        key: object = None,
        seed: int = 0,
        nemesis: Nemesis | None = None,
    ) -> dict[str, Any]:
        """Run the saga once in virtual time, and wait for it: the blocking form of ``run``.

        Blocking code inside a simulation runs it there, under that one's seed and
        faults. Raise DesignError inside a coroutine.
        """

        async def run() -> dict[str, Any]:
            return await self.run(given, key=key)

        result: dict[str, Any] = execute("saga", run, (), seed, nemesis)
        return result

    def _check_ready(self) -> None:
        if not self._steps:
            raise DesignError(
                f"saga {self.name!r} has no steps; add them with add_step(forward=..., compensate=...)"
            )

    def key_of(self, given: Any, key: object = None) -> str | None:
        """Give the name of the instance that ``run`` would start; None if it gets a random one.

        Raise DesignError if the saga keeps a journal and there is none.
        """
        if key is not None:
            return str(key)
        if self._key is not None:
            return str(self._key(given))
        if self.journal is None:
            return None
        if isinstance(given, str | int) and not isinstance(given, bool):
            return str(given)
        raise DesignError(
            f"saga {self.name!r} keeps a journal, so each instance needs a name to be found by: "
            "run(order, key=order.id), or Saga(..., key=lambda order: order.id)"
        )

    def _journal_for(self, what: str) -> Journal:
        if self.journal is None:
            raise DesignError(f"saga {self.name!r} has no journal to {what} from; give it one: journal=...")
        return self.journal

    def __repr__(self) -> str:
        return f"<Saga {self.name!r}: {', '.join(step.name for step in self._steps) or 'no steps'}>"


async def _has_ended(journal: Journal, file: str) -> bool:
    records = await journal.read(file)
    ends = [record["what"] for record in records if record["what"] in {"completed", "undone", "turned"}]
    return bool(ends) and ends[-1] != "turned"
