"""Laws of every DAG: held against a plain interpreter, and by the checkers under faults, limits and cancellation."""

from __future__ import annotations

import asyncio
from heapq import heappop, heappush

from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.capacity import Pool
from wfsim.checkers import (
    dependencies_respected,
    every_task_decided,
    no_task_repeated,
    parallelism_respected,
    retried_as_policy,
    skipped_as_ruled,
    torn_down,
)
from wfsim.errors import Skip
from wfsim.kernel import Simulation, sleep
from wfsim.nemesis import Rules, delay, fail, lose_reply
from wfsim.resilience import Retry
from wfsim.workflows import TRIGGER_RULES, DAGWorkflow
from wfsim.workflows._dag._rules import Tally, decide

CHECKERS = (
    dependencies_respected,
    every_task_decided,
    no_task_repeated,
    parallelism_respected,
    retried_as_policy,
    skipped_as_ruled,
    torn_down,
)
RULES = [rule for rule in TRIGGER_RULES if rule != "all_done_setup_success"]


@st.composite
def plain_dags(draw):
    """Tasks as data: how each ends, its rule, what it depends on, how long it takes.

    Durations are different powers of two, so no two tasks ever end at one instant.
    """
    count = draw(st.integers(1, 9))
    order = draw(st.permutations(range(count)))
    found = []
    for number in range(count):
        ups = draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set()
        how = draw(st.sampled_from(["success", "success", "success", "failed", "skipped"]))
        found.append((how, draw(st.sampled_from(RULES)), sorted(ups), 2 ** order[number]))
    return found


def interpret(tasks):
    """What becomes of each task and when it starts, worked out step by step with nothing in mind but the rules."""
    states, starts, running, told = {}, {}, [], []

    def look_at(number):
        how, rule, ups, took = tasks[number]
        tally = Tally(len(ups))
        for up in ups:
            if up in told:
                tally.count(states[up])
        decision = decide(rule, tally)
        if decision == "run":
            starts[number] = now
            heappush(running, (now + took, number, how))
        elif decision != "wait":
            states[number] = decision
            ended.append(number)

    now, ended = 0, []
    for number in range(len(tasks)):
        if not tasks[number][2] or tasks[number][1] == "always":
            look_at(number)
    while running:
        now, number, how = heappop(running)
        states[number] = how
        ended = [number]
        for one in ended:  # grows while it is walked
            told.append(one)
            for down in range(len(tasks)):
                if one in tasks[down][2] and down not in starts and down not in states:
                    look_at(down)
    return states, starts


def work_of(how, took):
    async def work(*_results):
        await sleep(took)
        if how == "failed":
            raise OSError(how)
        if how == "skipped":
            raise Skip(how)
        return how

    return work


@settings(deadline=None, max_examples=300)
@given(plain_dags())
def test_a_run_is_what_the_interpreter_says(tasks):
    """Which tasks run, when each starts, how each ends, and whether the run succeeds."""
    dag = DAGWorkflow()
    for number, (how, rule, ups, took) in enumerate(tasks):
        dag.add_task(f"t{number}", work_of(how, took), depends_on=[f"t{up}" for up in ups], trigger_rule=rule)
    simulation = Simulation()
    result = simulation.run(dag.settle).value
    states, starts = interpret(tasks)
    assert result.states == {f"t{number}": states[number] for number in range(len(tasks))}
    history = simulation.recorder.history()
    ran = {op.name: op.time_ns // 10**9 for op in history.where(type="invoke", kind="task")}
    assert ran == {f"t{number}": start for number, start in starts.items()}
    downs = {up for _, _, ups, _ in tasks for up in ups}
    leaves = [states[number] for number in range(len(tasks)) if number not in downs]
    assert result.ok == all(state in {"success", "skipped"} for state in leaves)
    for check in CHECKERS:
        assert check(history).valid is not False, check(history)


@st.composite
def rich_dags(draw):
    """A DAG with all there is: rules, branches, mapped tasks, setups, pools, retries, timeouts, options."""
    pool = Pool(draw(st.integers(1, 2)))
    fail_fast = draw(st.booleans())
    dag = DAGWorkflow(
        max_parallel=draw(st.none() | st.integers(1, 3)),
        fail_fast=fail_fast,
        cancel_unneeded=draw(st.booleans()),
    )
    names = []
    for number in range(draw(st.integers(1, 8))):
        ups = draw(st.lists(st.sampled_from(names), unique=True, max_size=3)) if names else []
        kind = draw(st.sampled_from(["plain", "plain", "list", "setup"]))
        how = draw(st.sampled_from(["success", "success", "failed", "skipped"]))
        options = {
            "depends_on": ups,
            "trigger_rule": "all_success" if fail_fast else draw(st.sampled_from(RULES)),
            "retry": draw(st.none() | st.just(Retry(attempts=2, delay="1s"))),
            "timeout": draw(st.none() | st.just("3s")),
            "priority": draw(st.integers(0, 2)),
            "pool": draw(st.none() | st.just(pool)),
        }
        name = f"t{number}"
        if kind == "list":
            size = draw(st.integers(0, 3))
            dag.add_task(f"{name}_list", run=lambda *_, size=size: list(range(size)), **options)
            dag.add_task(
                name, work_of(how, 1), over=f"{name}_list", priority=options["priority"], pool=options["pool"]
            )
        elif kind == "setup":
            dag.add_task(f"{name}_up", work_of(how, 1), **options)
            dag.add_task(name, work_of("success", 1), depends_on=[f"{name}_up"])
            dag.add_task(f"{name}_down", work_of("success", 1), depends_on=[name], teardown_of=[f"{name}_up"])
        else:
            dag.add_task(name, work_of(how, draw(st.integers(0, 4))), **options)
        names.append(name)
    for name in names:
        downs = [task.name for task in dag.tasks if name in task.depends_on and "_" not in name]
        if downs and not dag[name].over and draw(st.integers(0, 3)) == 0:
            dag[name].branch = True
            chosen = draw(st.lists(st.sampled_from(downs), unique=True))
            dag[name].run = lambda *_, chosen=chosen: chosen
    return dag


FAULTS = st.lists(
    st.sampled_from(
        [
            fail("t1"),
            fail("t*", attempts=1),
            lose_reply("t2*"),
            delay("t3", "5s"),
            fail("t[[]0]"),
            fail("*_up"),
        ]
    ),
    max_size=2,
    unique=True,
)


@settings(deadline=None, max_examples=300)
@given(rich_dags(), FAULTS, st.none() | st.integers(0, 12), st.integers(0, 3))
def test_every_run_ends_and_no_checker_objects(dag, faults, cancel_after, seed):
    """Whatever the DAG, the faults and the moment it is cancelled: it ends, all is told, all is torn down."""
    simulation = Simulation(seed=seed, nemesis=Rules(faults))

    async def main():
        try:
            async with asyncio.timeout(cancel_after):
                return await dag.settle()
        except TimeoutError:
            return None

    outcome = simulation.run(main)
    if outcome.name != "ok":
        raise outcome.error
    history = simulation.recorder.history()
    assert history.spans()[0].outcome is not None
    for check in CHECKERS:
        assert check(history).valid is not False, check(history)
    assert all(span.outcome is not None for span in history.spans())


@settings(deadline=None, max_examples=100)
@given(rich_dags(), FAULTS)
def test_a_failed_run_can_be_resumed_until_it_succeeds(dag, faults):
    """When the faults have stopped, what failed runs again, and nothing that is kept does."""
    rules = Rules(faults)
    simulation = Simulation(nemesis=rules)

    async def main():
        first = await dag.settle()
        rules.heal()
        left = any(state not in {"success", "skipped"} for state in first.states.values())
        return first, await dag.settle(resume=first) if left else first

    outcome = simulation.run(main)
    if outcome.name != "ok":
        raise outcome.error
    first, second = outcome.value
    history = simulation.recorder.history()
    assert list(second.states) == list(first.states)
    for check in (dependencies_respected, every_task_decided, no_task_repeated, torn_down):
        assert check(history).valid is not False, check(history)


def test_calls_that_are_kept_count_for_what_depends_on_them():
    """A mapped task that is repeated in part has the successes that are kept from the earlier run."""

    async def quick_or_slow(item):
        await sleep(1 + 9 * item)

    dag = DAGWorkflow(cancel_unneeded=True)
    dag.add_task("items", run=lambda: [0, 1])
    dag.add_task("each", quick_or_slow, over="items")
    dag.add_task("any", run=lambda _results: "done", depends_on=["each"], trigger_rule="one_success")
    simulation = Simulation()

    async def main():
        first = await dag.settle()
        return first, await dag.settle(resume=first)

    first, second = simulation.run(main).value
    assert (first.states["each"], second.states["any"]) == ("cancelled", "success")
    assert dependencies_respected(simulation.recorder.history()).valid is True
