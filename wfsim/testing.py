"""Conformance kits for plugin authors: whether a Target keeps the laws of its protocol.

::

    def make():  # at the top of a file: another process makes targets by it too
        return MyTarget(design)


    def make_failing():
        return MyTarget(design_that_fails)


    @pytest.mark.parametrize("law", wfsim.testing.LAWS)
    def test_my_target_keeps(law):
        wfsim.testing.check_target(make, failing=make_failing, laws=[law])

Without ``laws`` all are checked. Nothing here needs pytest: a broken law is a ``LawBroken``, an AssertionError.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import inspect
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wfsim.errors import DesignError, LawBroken, RealIOError
from wfsim.harness import Description, Experiment, Run, Target, Workload, run, simulate
from wfsim.kernel import current, sleep
from wfsim.nemesis import delay, fail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wfsim.nemesis import Rule

__all__ = ["LAWS", "check_target"]

_INSTANCES: Final = 3
_DAY_S: Final = 86_400.0
_NOBODY: Final = "a step that no design has"

# The other process. It finds the functions in their files, since test files often belong to no package.
_ELSEWHERE: Final = "import sys, wfsim.testing; wfsim.testing._tell_fingerprint(sys.argv[1])"


def check_target(
    make: Callable[[], Target],
    *,
    failing: Callable[[], Target],
    inputs: Callable[[int], Any] | None = None,
    unreached: Sequence[str] = (),
    laws: Iterable[str] | None = None,
) -> None:
    """Check the laws named (see ``LAWS``; all of them, if none are) and raise LawBroken for the first that is broken.

    ``make`` makes a target, a new one each time, whose design ends well; ``failing`` one whose design raises an
    error. Instance ``i`` is given ``inputs(i)``, if that is given. ``unreached`` are steps, as names or globs, that are
    described but that this design does not come to, so that no rule can strike them here.

    Raises DesignError for a law that does not exist, for an ``unreached`` that no step is called, and for functions
    that another process cannot find: each stands at the top of a file.
    """
    kit = _Kit(make, failing, inputs, tuple(unreached))
    for law in LAWS if laws is None else laws:
        if law not in _CHECKS:
            raise DesignError(f"there is no law {law!r}; the laws are {', '.join(LAWS)}")
        _CHECKS[law](kit)


@dataclass(frozen=True, slots=True)
class _Kit:
    """What an author gives, and how one of the targets is played."""

    make: Callable[[], Target]
    failing: Callable[[], Target]
    inputs: Callable[[int], Any] | None
    unreached: tuple[str, ...]

    def play(
        self, target: Target | None = None, *, seed: int = 0, faults: Sequence[Rule] = (), instances: int = 1
    ) -> Run:
        design = self.make() if target is None else target
        workload = Workload(instances, inputs=self.inputs)
        return run(Experiment("conformance", design, workload, tuple(faults)), seed).run

    def well(self, law: str, done: Run) -> Run:
        """Give a run that ended as it should."""
        if not done.ok:
            raise LawBroken(law, f"the design should end well, but its run ended as {_told(done)}")
        return done

    def steps(self) -> list[str]:
        """Give the steps that the design describes and comes to."""
        known = self.make().describe().steps or ()
        for pattern in self.unreached:
            if not fnmatch.filter(known, pattern):
                raise DesignError(
                    f"unreached names {pattern!r}, but no step is called so; they are {', '.join(known)}"
                )
        return [one for one in known if not any(fnmatch.fnmatchcase(one, each) for each in self.unreached)]


def _told(done: Run) -> str:
    return f"{done.outcome}: {done.error!r}" if done.error is not None else done.outcome


# -- the laws


def _described(kit: _Kit) -> None:
    """describe() says the same each time, before a run and after it, and names every step that the run has."""
    law, target = "described", kit.make()
    if not isinstance(target, Target):
        raise LawBroken(
            law, f"what make() gives, {target!r}, is no Target: describe, start or drive is missing"
        )
    told = target.describe()
    _check_description(told)
    done = kit.well(law, kit.play(target))
    for other in (target.describe(), kit.make().describe()):
        if other != told:
            raise LawBroken(law, f"describe() said {told}, and later {other}")
    ops = [op for op in done.history if op.type == "invoke" and op.kind != "instance"]
    strangers = [op for op in ops if told.steps is not None and op.name not in (*told.steps, told.name)]
    if strangers:
        what = f"{strangers[0].kind} {strangers[0].name!r}"
        raise LawBroken(law, f"the run has {what}, which describe() does not name among its steps")


def _check_description(told: Any) -> None:
    if not (isinstance(told, Description) and told.name and told.kind):
        raise LawBroken(
            "described", f"describe() gives {told!r} and not a Description with a name and a kind"
        )
    steps: Any = () if told.steps is None else told.steps
    if not (isinstance(steps, tuple) and len(set(steps)) == len(steps) and all(steps)):
        raise LawBroken(
            "described", f"steps are a tuple of names, each once, or None; describe() gives {steps!r}"
        )


def _repeatable(kit: _Kit) -> None:
    """The same seed gives the same history, in a new target."""
    for seed in (0, 1):
        one, two = (kit.well("repeatable", kit.play(seed=seed)).fingerprint for _ in range(2))
        if one != two:
            raise LawBroken("repeatable", f"two runs with seed {seed} wrote different histories")


def _repeatable_elsewhere(kit: _Kit) -> None:
    """So it does in another process, with another PYTHONHASHSEED: nothing depends on the order of a set."""
    law = "repeatable elsewhere"
    here = kit.well(law, kit.play()).fingerprint
    task = {"path": sys.path, "make": _place(kit.make), "inputs": kit.inputs and _place(kit.inputs)}
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(  # noqa: S603 - this Python, and what it runs is written here
        [sys.executable, "-c", _ELSEWHERE, json.dumps(task)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        raise LawBroken(law, f"in another process the run failed: {done.stderr.strip()[-2000:]}")
    if lines[-1] != here:
        raise LawBroken(law, f"another process with PYTHONHASHSEED={hash_seed} wrote a different history")


def _fresh(kit: _Kit) -> None:
    """One target can be run again and again: what belongs to a run is in the system that start() returns."""
    target = kit.make()
    first, *_, last = (kit.well("fresh", kit.play(target, seed=seed)).fingerprint for seed in (0, 1, 0))
    if first != last:
        raise LawBroken(
            "fresh", "a target's third run, with the seed of its first, wrote a different history"
        )


def _failing(kit: _Kit) -> None:
    """A design that fails is a run with the outcome "error", and its error is the run's."""
    law, failing = "failing", kit.failing()
    try:
        done = kit.play(failing)
    except Exception as error:
        raise LawBroken(law, f"a design that fails ended the harness, with {error!r}") from error
    if done.outcome != "error" or not isinstance(done.error, Exception):
        raise LawBroken(law, f"a design that fails should end as error, and ended as {_told(done)}")
    if not done.history.where(kind="instance", type="fail"):
        raise LawBroken(law, "the history of a design that fails has no instance that failed")


def _struck(kit: _Kit) -> None:
    """A rule strikes at each step by its name, and at none by a name that no step has."""
    law = "struck"
    rules = [delay(step, "1ms") for step in kit.steps()]
    stranger = delay(_NOBODY, "1ms")
    done = kit.well(law, kit.play(faults=[*rules, stranger]))
    missed = [str(rule.step) for rule in done.unmatched if rule in rules]
    if missed:
        raise LawBroken(
            law,
            f"no rule can strike {', '.join(missed)}; if this design does not come there, say so in unreached",
        )
    if stranger not in done.unmatched:
        raise LawBroken(law, f"a rule for {_NOBODY!r} struck something")


def _independent(kit: _Kit) -> None:
    """Instances do not disturb each other: all end well, and where the first is struck the others still do."""
    law = "independent"
    kit.well(law, kit.play(instances=_INSTANCES))
    name = kit.make().describe().name
    done = kit.play(faults=[fail("*", process=f"{name}-1")], instances=_INSTANCES)
    ended = [op.name for op in done.history.where(kind="instance", type="ok")]
    for number in range(2, _INSTANCES + 1):
        if f"{name}-{number}" not in ended:
            raise LawBroken(law, f"instance {number} did not end well when instance 1 was struck")


def _over(kit: _Kit) -> None:
    """When an instance has ended, nothing of it goes on: for a day no operation begins or ends."""
    law, target = "over", kit.make()

    async def main() -> int:
        given = () if kit.inputs is None else (kit.inputs(1),)
        await target.drive(await target.start(), *given)
        simulation = current()
        ended_ns = 0 if simulation is None else simulation.now_ns
        await sleep(_DAY_S)
        return ended_ns

    done = kit.well(law, simulate(main))
    late = [op for op in done.history if op.time_ns > done.value]
    if late:
        raise LawBroken(
            law, f"after its end the design went on: {late[0].type} {late[0].kind} {late[0].name!r}"
        )


def _virtual(kit: _Kit) -> None:
    """The design lives in virtual time and touches nothing real."""
    done = kit.play()
    cause: BaseException | None = done.error
    while cause is not None:
        if isinstance(cause, RealIOError):
            raise LawBroken("virtual", f"the design reaches for the real world: {cause}")
        cause = cause.__cause__
    kit.well("virtual", done)


_CHECKS: Final[dict[str, Callable[[_Kit], None]]] = {
    "described": _described,
    "virtual": _virtual,
    "repeatable": _repeatable,
    "repeatable elsewhere": _repeatable_elsewhere,
    "fresh": _fresh,
    "failing": _failing,
    "struck": _struck,
    "independent": _independent,
    "over": _over,
}
LAWS: Final[tuple[str, ...]] = tuple(_CHECKS)
"""The laws of a Target, by name, in the order in which they are checked."""


# -- the other process


def _place(function: Callable[..., Any]) -> tuple[str, str, str]:
    """Say where a function is found: the name of its module, the file, its own name."""
    name = getattr(function, "__qualname__", "<none>")
    file = (
        inspect.getsourcefile(function) if inspect.isfunction(function) or inspect.isclass(function) else None
    )
    if file is None or "<" in name:
        raise DesignError(
            f"{function!r} cannot be found by another process; give a function or a class from the "
            "top of a file"
        )
    return function.__module__, os.path.abspath(file), name  # noqa: PTH100 - as a string, for JSON


def _found(place: Sequence[str]) -> Any:
    module_name, file, name = place
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise DesignError(f"{file} is no Python file")
    module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _tell_fingerprint(task: str) -> None:
    """Play a target once and print the fingerprint: what the other process does."""
    told = json.loads(task)
    sys.path[:] = told["path"]
    make = _found(told["make"])
    inputs = None if told["inputs"] is None else _found(told["inputs"])
    done = _Kit(make, make, inputs, ()).play()
    sys.stdout.write(f"\n{done.fingerprint}\n")
