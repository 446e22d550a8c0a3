"""A DAG with a journal: crashed anywhere, it goes on where it was, and no task that had ended runs again."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim import checkers, fail
from wfsim.capacity import Pool
from wfsim.errors import DesignError
from wfsim.kernel import Simulation, effect, sleep, start_process
from wfsim.nemesis import Crash, Rules
from wfsim.resilience import Retry
from wfsim.storage import Disk, MemoryJournal, SQLiteJournal
from wfsim.workflows import DAGWorkflow, Skip


class CrashAt:
    """Crashes the scheduler at one of its fault points, counted from 1; tells what was durable before."""

    def __init__(self, *numbers, rules=()):
        self.numbers = numbers
        self.rules = Rules(rules)
        self.passed = 0
        self.durable = []
        self.crashed_at = []

    def watches(self, _name):
        return self

    def __contains__(self, _name):
        return True

    def ask(self, at):
        if at.process != "scheduler":
            return None
        self.passed += 1
        if at.point == "journalled" and at.kind in {"done", "skipped"}:
            self.durable.append((at.name, at.time_ns))
        if self.passed in self.numbers:
            self.crashed_at.append(at.time_ns)
            return Crash("5s")
        return self.rules.ask(at)

    def heal(self):
        self.rules.heal()


def does(name, seconds=1, value=None):
    async def work(*results):
        await sleep(seconds)
        effect(name)
        return value if value is not None else [name, *(one for one in results if isinstance(one, str))]

    return work


def diamond(journal):
    dag = DAGWorkflow(name="etl", journal=journal, max_parallel=2)
    dag.add_task("extract", run=does("extract"))
    dag.add_task("clean", run=does("clean"), depends_on=["extract"])
    dag.add_task("enrich", run=does("enrich", 2), depends_on=["extract"], retry=Retry(attempts=2))
    dag.add_task("load", run=does("load"), depends_on=["clean", "enrich"], timeout="10s")
    return dag


def mapped(journal):
    dag = DAGWorkflow(name="etl", journal=journal)
    pool = Pool(2)

    async def square(number):
        await sleep(number)
        effect(f"square[{number - 1}]")
        if number == 2:
            raise Skip("two is no fun")
        return number * number

    dag.add_task("list", run=does("list", value=[1, 2, 3]))
    dag.add_task("square", run=square, over="list", pool=pool)
    dag.add_task(
        "sum",
        run=lambda squares: sum(squares),
        depends_on=["square"],
        trigger_rule="none_failed_min_one_success",
    )
    return dag


def branched(journal):
    dag = DAGWorkflow(name="etl", journal=journal)

    def skips():
        effect("skips")
        raise Skip("nothing new")

    dag.add_task("pick", run=does("pick", value="left"), branch=True)
    dag.add_task("left", run=does("left"), depends_on=["pick"])
    dag.add_task("right", run=does("right"), depends_on=["pick"])
    dag.add_task("skips", run=skips)
    dag.add_task("slow", run=does("slow", 9))
    dag.add_task("join", run=does("join"), depends_on=["left", "right", "skips"], trigger_rule="one_success")
    dag.add_task("first", run=does("first"), depends_on=["left", "slow"], trigger_rule="one_success")
    return dag


def cluster(journal):
    dag = DAGWorkflow(name="etl", journal=journal)
    dag.add_task("create", run=does("create"))
    dag.add_task("work", run=does("work"), depends_on=["create"])
    dag.add_task("more", run=does("more", 2), depends_on=["create"])
    dag.add_task("delete", run=does("delete"), depends_on=["work", "more"], teardown_of=["create"])
    dag.add_task("report", run=does("report"), depends_on=["work", "more"])
    return dag


DESIGNS = {"diamond": diamond, "mapped": mapped, "branched": branched, "cluster": cluster}
JUDGES = (
    checkers.dependencies_respected,
    checkers.no_task_repeated,
    checkers.skipped_as_ruled,
    checkers.every_task_decided,
    checkers.torn_down,
    checkers.completed,
)
JOURNALS = {
    "memory": MemoryJournal,
    "torn": lambda: MemoryJournal(Disk(survives=0.5, tears=1)),
    "sqlite": lambda: SQLiteJournal(":memory:"),
}


def play(design, journal, nemesis, seed=0, key="monday"):
    """Run a DAG in a process that crashes and comes back; each life has a DAG (and pools) of its own."""

    async def live():
        return await design(journal).run(key=key)

    async def main():
        return await start_process("scheduler", live)

    simulation = Simulation(seed=seed, nemesis=nemesis)
    outcome = simulation.run(main)
    return outcome, simulation.recorder.history()


def plain(result):
    return (
        dict(result),
        result.states,
        {name: [one.value for one in each] for name, each in result.instances.items()},
    )


@pytest.mark.parametrize("kind", JOURNALS)
@pytest.mark.parametrize("design", DESIGNS)
def test_every_crash_point(design, kind):
    """Wherever the scheduler crashes: the results are those of a healthy run, and nothing durable is done twice."""
    healthy, _ = play(DESIGNS[design], JOURNALS[kind](), None)
    number, resumed = 0, 0
    while True:
        number += 1
        nemesis = CrashAt(number)
        outcome, history = play(DESIGNS[design], JOURNALS[kind](), nemesis, seed=number)
        assert plain(outcome.value) == plain(healthy.value)
        crashed_at = nemesis.crashed_at[0] if nemesis.crashed_at else 0
        again = [op.name for op in history.where(kind="task", type="invoke") if op.time_ns > crashed_at > 0]
        assert [name for name, at in nemesis.durable if at <= crashed_at and name in again] == []
        for check in JUDGES:
            assert check(history).valid is not False, check(history).message
        resumed += bool(history.where(kind="dag", type="invoke")[1:])
        if nemesis.passed < number:
            break
    assert number > 20
    assert resumed > 15


def test_two_crashes_are_no_worse_than_one():
    """Also what the second life had done is kept in the third."""
    for number in range(2, 30, 3):
        nemesis = CrashAt(number, number + 7)
        outcome, history = play(cluster, MemoryJournal(), nemesis, seed=number)
        assert outcome.value.ok
        assert [check(history) for check in JUDGES if check(history).valid is False] == []
        runs = [op.name for op in history.where(kind="effect")]
        assert all(runs.count(name) <= 1 + len(nemesis.crashed_at) for name in runs)


RULES = ("all_success", "all_done", "one_success", "none_failed", "none_skipped", "all_done_min_one_success")


@st.composite
def plans(draw):
    """A DAG of a few tasks, some of which skip themselves, some of which are mapped over the task before."""
    tasks = []
    for number in range(draw(st.integers(2, 6))):
        ups = draw(st.lists(st.integers(0, number - 1), unique=True, max_size=3)) if number else []
        tasks.append(
            (ups, draw(st.sampled_from(RULES)), draw(st.integers(1, 4)), draw(st.integers(0, 5)) == 0)
        )
    return tasks


def built(tasks, journal):
    dag = DAGWorkflow(name="etl", journal=journal, max_parallel=2)
    for number, (ups, rule, seconds, skips) in enumerate(tasks):
        dag.add_task(
            f"t{number}",
            run=maker(f"t{number}", seconds, skips=skips),
            depends_on=[f"t{up}" for up in ups],
            trigger_rule=rule if ups else None,
        )
    return dag


def maker(name, seconds, *, skips):
    async def work():
        await sleep(seconds)
        effect(name)
        if skips:
            raise Skip("nothing to do")
        return name

    return work


@settings(deadline=None, max_examples=150)
@given(plans(), st.lists(st.integers(1, 40), max_size=2), st.integers(0, 9), st.sampled_from([0, 0.5, 1]))
def test_a_crash_changes_nothing_that_can_be_seen(tasks, crashes, seed, survives):
    """Whatever the DAG: results and states are those of the healthy run, and what is durable is done once."""
    healthy, _ = play(lambda journal: built(tasks, journal), MemoryJournal(), None)
    nemesis = CrashAt(*crashes)
    journal = MemoryJournal(Disk(survives=survives, tears=0.5))
    outcome, history = play(lambda journal: built(tasks, journal), journal, nemesis, seed)
    assert outcome.value.states == healthy.value.states
    assert dict(outcome.value) == dict(healthy.value)
    for at in nemesis.crashed_at:
        again = [op.name for op in history.where(kind="task", type="invoke") if op.time_ns > at]
        assert [name for name, when in nemesis.durable if when <= at and name in again] == []


# -- failures --


async def lives(dag, rules, *keys):
    """Run under faults, then again without."""
    results = []
    for key in keys:
        results.append(await dag.settle(key=key))
        rules.heal()
    return results


def run_twice(dag, faults, keys=("monday", "monday")):
    rules = Rules(faults)
    simulation = Simulation(nemesis=rules)
    outcome = simulation.run(lives, dag, rules, *keys)
    if outcome.error is not None:
        raise outcome.error
    return outcome.value, simulation.recorder.history()


def names(history):
    return [op.name for op in history.where(kind="task", type="invoke")]


def test_a_run_that_failed_goes_on_from_the_failed_tasks():
    """The same key again: what failed runs, and all after it; what had succeeded keeps its result."""
    (first, second), history = run_twice(diamond(MemoryJournal()), [fail("enrich")])
    assert first.states == {
        "extract": "success",
        "clean": "success",
        "enrich": "failed",
        "load": "upstream_failed",
    }
    assert second.ok
    assert second["load"] == ["load"]
    assert names(history) == ["extract", "clean", "enrich", "enrich", "enrich", "load"]
    assert history.where(kind="dag", type="invoke")[1].data["kept"] == {
        "extract": "success",
        "clean": "success",
    }


def test_what_comes_after_a_failed_task_is_repeated_although_it_ran():
    """As when failed tasks are cleared in Airflow: a report of the failure is no report of the success."""

    def reported(journal):
        return diamond(journal).add_task(
            "report", run=does("report"), depends_on=["enrich"], trigger_rule="all_done"
        )

    (_, second), history = run_twice(reported(MemoryJournal()), [fail("enrich")])
    assert second.ok
    assert names(history)[-3:] == ["enrich", "load", "report"]


def test_that_a_task_is_to_be_repeated_outlives_a_crash():
    """The decision to repeat is durable: a crash on the way does not make an old report the new one."""
    for number in range(1, 40):
        journal = MemoryJournal()

        def reported(journal):
            return diamond(journal).add_task(
                "report", run=does("report"), depends_on=["enrich"], trigger_rule="all_done"
            )

        rules = Rules([fail("enrich")])
        simulation = Simulation(nemesis=rules)

        async def main(journal=journal, rules=rules, reported=reported):
            await reported(journal).settle(key="monday")
            rules.heal()

        assert simulation.run(main).name == "ok"
        records = Simulation().run(lambda journal=journal: read(journal)).value
        outcome, history = play(reported, replayed(records), CrashAt(number), seed=number)
        assert outcome.value.ok
        assert "report" in names(history)
        assert names(history).count("extract") == 0


async def read(journal):
    return await journal.read("etl/monday")


def replayed(records):
    """A journal that holds these records already."""

    class Replayed(MemoryJournal):
        async def read(self, key):
            return [*records, *await super().read(key)]

    return Replayed()


def test_a_run_that_succeeded_is_not_repeated():
    """Its results are given once more, states and all; nothing is called."""
    (first, second), history = run_twice(branched(MemoryJournal()), [])
    assert plain(first) == plain(second)
    assert len(names(history)) == len(set(names(history)))
    assert dict(history.where(kind="dag", type="ok")[1].data) == {"told_again": True}
    assert checkers.every_task_decided(history).valid is True


def test_another_key_is_another_run():
    """Runs of different names know nothing of each other."""
    _, history = run_twice(diamond(MemoryJournal()), [], keys=("monday", "tuesday"))
    assert names(history).count("extract") == 2
    assert [op.data["key"] for op in history.where(kind="dag", type="invoke")] == ["monday", "tuesday"]


def test_what_was_taken_down_is_set_up_again():
    """After a failure whose teardown ran, the setup runs again; after a crash before it, it does not."""
    (first, second), history = run_twice(cluster(MemoryJournal()), [fail("work")])
    assert first.states["delete"] == "success"
    assert second.ok
    assert names(history).count("create") == 2
    assert checkers.torn_down(history).valid is True


def test_a_run_that_was_cancelled_goes_on_too():
    """What had ended is kept; what was cancelled runs."""
    dag = diamond(MemoryJournal())

    async def main():
        task = asyncio.create_task(dag.run(key="monday"))
        await sleep(2.5)
        task.cancel()
        await asyncio.wait([task])
        return await dag.run(key="monday")

    simulation = Simulation()
    assert simulation.run(main).value.ok
    assert names(simulation.recorder.history()) == ["extract", "clean", "enrich", "enrich", "load"]


def test_the_input_is_that_of_the_first_life():
    """A text or number that is given names the run; the journal keeps the input."""
    dag = DAGWorkflow(name="etl", journal=MemoryJournal())
    dag.add_task("a", run=lambda day: f"a of {day}")
    dag.add_task("b", run=lambda a: a.upper(), depends_on=["a"])

    async def main():
        rules = simulation.nemesis
        await dag.settle("monday")
        rules.heal()
        return await dag.run(key="monday")

    simulation = Simulation(nemesis=Rules([fail("b")]))
    assert simulation.run(main).value == {"a": "a of monday", "b": "A OF MONDAY"}


def test_it_works_in_production(tmp_path):
    """The journal is a file, the loop a plain one, and another process opens both anew."""
    broken = [OSError("down")]
    calls = []

    def dag():
        flow = DAGWorkflow(name="etl", journal=SQLiteJournal(tmp_path / "runs.db"))
        flow.add_task("a", run=lambda: calls.append("a") or "A")
        return flow.add_task("b", run=lambda a: broken.pop() if broken else a, depends_on=["a"]).add_task(
            "c", run=lambda b: check(b), depends_on=["b"]
        )

    def check(b):
        if isinstance(b, OSError):
            raise b
        return b

    with pytest.raises(DesignError) as caught:
        asyncio.run(dag().run(key="monday"))
    assert (
        "a DAG with a journal keeps its input and the result of each task ('b') in it"
        in caught.value.__notes__
    )
    assert asyncio.run(dag().run(key="monday")) == {"a": "A", "b": "A", "c": "A"}
    assert asyncio.run(dag().run(key="monday"))["c"] == "A"
    assert calls == ["a"]


def test_a_failure_that_cannot_be_written_down_is_told_all_the_same():
    """The task's own error comes out, with a note; nobody waits for ever."""

    class Full(MemoryJournal):
        async def append(self, key, record):
            if record["what"] == "failed":
                raise OSError("disk full")
            await super().append(key, record)

    with pytest.raises(RuntimeError, match="broken") as caught:
        DAGWorkflow(name="d", journal=Full()).add_task("a", run=broken).execute(key="k")
    assert "the journal could not take it down: OSError('disk full')" in caught.value.__notes__


def broken():
    raise RuntimeError("broken")


WRONG = {
    "DAGWorkflow(journal=MemoryJournal)": (
        lambda: DAGWorkflow(journal=MemoryJournal),
        "has no append and read",
    ),
    "no key": (lambda: diamond(MemoryJournal()).execute(), "each run needs a name to be found by"),
    "no journal": (lambda: diamond(None).execute(key="k"), "has no journal, so key='k' names nothing in it"),
    "resume": (
        lambda: diamond(MemoryJournal()).execute(key="k", resume=diamond(None).execute()),
        "has a journal, which knows what is left to do; leave resume= out",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_use_is_refused(wrong):
    """The message says what is wrong, and what would be right."""
    use, message = WRONG[wrong]
    with pytest.raises(DesignError, match=message):
        use()


def test_a_run_of_another_design_is_not_carried_on():
    """The tasks must be those that the run began with."""
    journal = MemoryJournal()

    async def main():
        await diamond(journal).run(key="monday")
        await diamond(journal).add_task("new", run=does("new")).run(key="monday")

    error = Simulation().run(main).error
    assert "began with extract, clean, enrich, load; let old runs end with the old design" in str(error)
