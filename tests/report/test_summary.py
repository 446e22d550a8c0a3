"""The result of an experiment on paper: what a reader needs, no more, and the way back to the run."""

from __future__ import annotations

import asyncio
import io
import json
import re
from contextlib import suppress

import pytest

from wfsim import Retry, Saga, fail, fault_point, hang, report, simulate
from wfsim.checkers import Verdict, compensated_in_reverse
from wfsim.harness import Experiment, Workload, breaks, holds, run_all


async def work() -> None:
    await asyncio.sleep(1)


def shop() -> Saga:
    return Saga("shop").add_step("reserve", forward=work, compensate=work).add_step("charge", forward=work)


def even_seeds_only(history) -> Verdict:
    """Break on every second seed: the seed is the length of the first wait."""
    seed = round(next(op.time_ns for op in history if op.name == "wait") / 1e9)
    return Verdict("even_seeds_only", seed % 2 == 0, f"the seed was {seed}", (0,) if seed % 2 else ())


def every_seed(number: int, **options) -> Experiment:
    """An experiment whose history tells its seed."""
    return Experiment(
        "every seed", waiter, expectations=(holds(even_seeds_only),), seeds=tuple(range(number)), **options
    )


async def waiter() -> None:
    from wfsim.kernel import current, event

    await asyncio.sleep(current().seed)
    event("note", "wait")


def page(*prints, width: int = 100) -> str:
    paper = report.Paper.sheet(width)
    for print_part in prints:
        print_part(paper)
    return paper.text()


def test_the_table_of_many_runs_shows_those_that_break_something() -> None:
    """Of thirty runs twelve get a row, the breaking ones first; the rest is counted, none is lost."""
    result = run_all(every_seed(30))
    text = page(lambda paper: report.print_runs(paper, result, whole=False))
    rows = [int(line.split()[0]) for line in text.splitlines() if line.strip()[:1].isdigit()]
    assert rows == list(range(1, 24, 2))
    assert text.endswith("and 18 more runs, of which 3 break something\n")
    assert "\n  29  ok                29s       -  even_seeds_only" in page(
        lambda paper: report.print_runs(paper, result, whole=True)
    )


def test_the_deciding_run_is_told_and_replayed() -> None:
    """The timeline, the expectation's line and the replay command speak of one seed."""
    result = run_all(every_seed(6, source="scenarios/every seed.yaml"))
    assert report.telling(result).seed == 1
    assert report.replay_command(result) == "wfsim run 'scenarios/every seed.yaml' --seed 1"
    text = page(lambda paper: report.print_telling(paper, result, lines=40))
    assert "Timeline of the run that breaks something, one of 6 (seed 1)\n" in text
    text = page(lambda paper: report.print_expectations(paper, result))
    assert text == "✗  even_seeds_only: seed 1: the seed was 1\n"


def test_without_a_break_the_run_with_most_faults_is_told() -> None:
    """A calm run says little: the one that met the most faults shows what the design can bear."""
    experiment = Experiment(
        "shop", shop(), faults=(fail("charge", probability=0.5),), workload=Workload(20), seeds=(1, 2, 3)
    )
    result = run_all(experiment)
    faults = {one.seed: report.faults_of(one) for one in result.runs}
    assert len(set(faults.values())) == 3
    assert faults[report.telling(result).seed] == max(faults.values())


def test_a_break_that_was_expected_reads_as_success() -> None:
    """A demonstration of a broken design passes; a design that did not break as promised fails."""
    shown = run_all(Experiment("x", waiter, expectations=(breaks(even_seeds_only),), seeds=(1,)))
    text = page(
        lambda paper: report.print_expectations(paper, shown),
        lambda paper: report.print_verdict(paper, shown),
    )
    assert text == (
        "✓  even_seeds_only breaks, as expected: the seed was 1\n\nPASSED  1 of 1 expectation met in 1 run\n"
    )
    missed = run_all(Experiment("x", waiter, expectations=(breaks(even_seeds_only),), seeds=(2,)))
    text = page(lambda paper: report.print_expectations(paper, missed))
    assert text == "✗  even_seeds_only was expected to break: the seed was 2\n"


def test_nothing_to_judge_is_marked_as_unknown() -> None:
    """What was never put to the test is neither met nor broken."""
    result = run_all(Experiment("shop", shop(), expectations=(holds(compensated_in_reverse),)))
    text = page(
        lambda paper: report.print_expectations(paper, result),
        lambda paper: report.print_verdict(paper, result),
    )
    assert text.startswith("?  compensated_in_reverse: ")
    assert "FAILED  0 of 1 expectation met in 1 run\n" in text


def test_an_experiment_without_expectations_is_done_not_passed() -> None:
    """Nothing was promised, so nothing was kept."""
    result = run_all(Experiment("shop", shop()))
    assert page(lambda paper: report.print_verdict(paper, result)) == "\nDONE  1 run, nothing expected\n"


@pytest.mark.parametrize(("seconds", "shown"), [(0.0312, "0.031s"), (9.4, "9.4s"), (75.2, "1m 15s")])
def test_the_time_it_really_took_is_told_in_words(seconds, shown) -> None:
    """No exponents, however long it took."""
    result = run_all(Experiment("x", waiter))
    text = page(lambda paper: report.print_verdict(paper, result, seconds))
    assert text.endswith(f" of virtual time in {shown}\n")


def test_a_fault_that_found_nothing_to_strike_is_reported() -> None:
    """A misspelt step would otherwise look like a design that bears everything."""
    result = run_all(Experiment("shop", shop(), faults=(fail("chrage"),), seeds=(1, 2)))
    text = page(lambda paper: report.print_telling(paper, result, lines=40))
    assert text.count("the fault fail at step 'chrage' found nothing to strike; is a name misspelt?\n") == 1


def test_a_deadlock_says_who_waits_for_what_and_where() -> None:
    """The timeline of a run that cannot go on ends with the tasks that wait."""

    async def main() -> None:
        await asyncio.Queue().get()

    text = page(lambda paper: report.print_run(paper, simulate(main)))
    assert "ended after 0s: deadlock: " in text
    assert "main in main still waits for Queue.get (test_summary.py:" in text


def test_an_error_that_no_line_tells_is_told_at_the_end() -> None:
    """An error outside any step leaves no operation: the page must not hide it."""

    async def main() -> None:
        await asyncio.sleep(2)
        raise ValueError("nobody recorded this")

    assert "ended after 2s: ValueError: nobody recorded this\n" in page(
        lambda paper: report.print_run(paper, simulate(main))
    )
    failing = simulate(shop(), faults=[fail("charge", error=ValueError("a step did"))])
    assert "ended after" not in page(lambda paper: report.print_run(paper, failing))


def divide() -> float:
    return json.loads("0") / 0


def parse() -> object:
    return json.loads("[")


@pytest.mark.parametrize(
    ("step", "faults", "place"),
    [(divide, [], "divide"), (parse, [], "parse"), (divide, [fail("charge")], "")],
)
def test_an_error_of_the_users_code_has_its_place(step, faults, place) -> None:
    """The innermost line of the user's own, also behind the retries that gave up; of an injected fault none."""
    saga = Saga("shop").add_step("charge", forward=step, retry=Retry(attempts=2, delay=0))
    text = page(lambda paper: report.print_run(paper, simulate(saga, faults=faults)))
    found = re.findall(r"the error was raised at test_summary.py:\d+ in (\w+)", text)
    assert found == ([place] if place else [])


def test_a_hang_and_a_fault_at_a_point_of_the_users_own_are_told() -> None:
    """A step that hangs says so; a fault outside any call names its point."""

    async def main() -> None:
        with suppress(ConnectionError):
            await fault_point("before the commit")
        await shop().run()

    rules = [fail(point="before the commit", error=ConnectionError("x")), hang("charge")]
    text = page(lambda paper: report.print_run(paper, simulate(main, faults=rules)))
    assert "fault: fail at before the commit (injected)\n" in text
    assert "charge starts and hangs (injected)\n" in text


def test_of_a_workload_each_instance_is_one_story_and_the_judged_one_is_marked() -> None:
    """A checker may object to an instance as a whole: the mark is where its story ends."""
    from wfsim.harness import success_rate

    experiment = Experiment(
        "shop",
        shop(),
        Workload(40),
        (fail("charge", process="shop-7"),),
        (holds(success_rate, at_least=1.0),),
    )
    result = run_all(experiment)
    text = page(lambda paper: report.print_telling(paper, result, lines=20))
    assert [line[:1] for line in text.splitlines()[3:-1]] == [" ", " ", "↯", " ", "✗"]
    assert text.splitlines()[-2].endswith("shop failed: InjectedFault: injected into charge  ←success_rate")
    assert text.endswith("   39 more not shown: 39 ok\n")
    assert "instance" not in text


def test_the_data_for_machines_is_json() -> None:
    """Every number and word of it survives JSON, and says what the page says."""
    result = run_all(every_seed(2))
    data = report.as_data(result)
    assert json.loads(json.dumps(data)) == data
    assert [run["seed"] for run in data["runs"]] == [0, 1]
    assert data["expectations"][0]["met"] is False
    assert data["expectations"][0]["seed"] == 1


@pytest.mark.parametrize(
    ("error", "words"), [(TimeoutError(), "TimeoutError"), (TimeoutError("late"), "TimeoutError: late")]
)
def test_an_error_that_says_nothing_is_its_name(error, words) -> None:
    """A timeout of asyncio has no message, and then no colon."""

    async def main() -> None:
        raise error

    data = report.as_data(run_all(Experiment("shop", main)))
    assert data["runs"][0]["error"] == words


def test_ascii_paper_has_no_other_letters() -> None:
    """Marks and arrows have stand-ins, also when they are wider."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    paper = report.Paper(stream, width=100)
    result = run_all(every_seed(2))
    report.print_telling(paper, result, lines=40)
    report.print_expectations(paper, result)
    stream.flush()
    assert b"<-even_seeds_only" in stream.buffer.getvalue()


@pytest.mark.parametrize(("given", "got"), [(10, 40), (90, 90), (1000, 140)])
def test_the_width_stays_within_reason(given, got) -> None:
    """Below forty columns nothing can be told; beyond a hundred and forty lines are hard to read."""
    assert report.Paper.sheet(given).width == got
