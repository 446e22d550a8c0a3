"""The ``wfsim`` fixture runs designs under faults, and a failing test tells the whole story."""

from __future__ import annotations

import shlex

import pytest

pytest_plugins = ["pytester"]

OUTAGE = "faults=[wfsim.fail('charge', error=ConnectionError('bank is down'))]"


def told(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


def test_a_good_design_passes(session) -> None:
    """The first test that a newcomer writes: an outage, and the saga gives everything back."""
    result = session(
        f"""
def test_outage(wfsim):
    run = wfsim.run(shop(), {OUTAGE})
    verdicts = wfsim.check(
        run, wfsim.checkers.compensated_in_reverse, wfsim.checkers.compensated_exactly_once
    )
    assert [verdict.valid for verdict in verdicts] == [True, True]
    assert run.outcome == "error"
"""
    )
    result.assert_outcomes(passed=1)


def test_a_misspelt_fault_is_a_warning(session) -> None:
    """A fault that found nothing to strike tests nothing; pytest's summary says so, with the test's line."""
    result = session(
        """
def test_outage(wfsim):
    assert wfsim.run(shop(), faults=[wfsim.fail("chrage")]).ok
"""
    )
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        "*test_shop.py:6: UserWarning: the fault fail at step 'chrage' found nothing to strike; is a name *"
    )


def test_a_broken_design_fails_with_its_story(session) -> None:
    """What is wrong, the timeline with the break marked, the seed and the command that replays it."""
    result = session(
        f"""
def test_outage(wfsim):
    run = wfsim.run(shop(release=cannot), {OUTAGE})
    wfsim.check(run, wfsim.checkers.compensated_exactly_once)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * wfsim.CheckFailed: compensated_exactly_once: saga shop: 'reserve' is left undone*",
            "E * time * took  main",
            "E * charge failed: ConnectionError: bank is down (injected)",
            "E * charge, attempt 2, failed: ConnectionError: bank is down (injected)",
            "E * ✗ * compensate reserve failed: OSError: no way back*",
            "E * seed 0; replay: pytest test_shop.py::test_outage --wfsim-seed 0",
        ]
    )
    assert told(result).count("time   took") == 1


def test_a_ci_server_is_told_the_story_once(session, monkeypatch) -> None:
    """Where pytest shows whole messages in its summary, the summary says what is wrong and no more."""
    monkeypatch.setenv("CI", "true")
    result = session(
        f"""
def test_outage(wfsim):
    run = wfsim.run(shop(release=cannot), {OUTAGE})
    wfsim.check(run, wfsim.checkers.compensated_exactly_once)
"""
    )
    assert told(result).count("time   took") == 1
    result.stdout.fnmatch_lines(
        [
            "FAILED *test_outage - wfsim.CheckFailed: compensated_exactly_once: saga shop: 'reserve' is left undone*"
        ]
    )


def test_the_replay_command_shows_the_same_failure(session) -> None:
    """Typed as printed, it fails again with the same story, to the letter."""
    result = session(
        """
import pytest

@pytest.mark.parametrize("what", ["two words"])
def test_it(wfsim, what):
    async def main():
        import random
        await asyncio.sleep(random.random())
        front.effect("done", at=random.random())
    run = wfsim.run(main, seed=None)
    wfsim.check(run, wfsim.checkers.no_cycle)
""",
        "--wfsim-seed",
        "41",
    )
    command = next(line for line in result.outlines if "replay:" in line).partition("replay: ")[2]
    assert command == "pytest 'test_shop.py::test_it[two words]' --wfsim-seed 41"
    again = session("", *shlex.split(command)[1:])
    assert _story(again) == _story(result) != []


def _story(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if line.startswith("E")]


def test_any_failure_of_a_test_shows_the_runs_it_made(session) -> None:
    """A plain assert is enough: the report has the timeline, the seed and the command, as a section."""
    result = session(
        f"""
def test_outage(wfsim):
    run = wfsim.run(shop(), {OUTAGE}, seed=5)
    assert run.ok
"""
    )
    result.stdout.fnmatch_lines(
        [
            "*- wfsim: shop, seed 5, outcome error, RetriesExhausted -*",
            "*shop starts",
            "*shop failed: RetriesExhausted*",
            "seed 5; replay: pytest test_shop.py::test_outage",
        ]
    )


def test_a_passing_test_prints_nothing(session) -> None:
    """No timeline where nobody asks for one."""
    result = session("def test_it(wfsim):\n    wfsim.run(shop())\n")
    assert "took" not in told(result)


def test_nothing_to_judge_is_no_success(session) -> None:
    """A check of compensations in a run without any fails: such a test would test nothing."""
    result = session(
        """
def test_it(wfsim):
    wfsim.check(wfsim.run(shop()), wfsim.checkers.compensated_in_reverse)
"""
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * compensated_in_reverse (nothing to judge): *"])


def test_a_check_without_checkers_is_refused(session) -> None:
    """Forgetting the checker must not look like success."""
    result = session("def test_it(wfsim):\n    wfsim.check(wfsim.run(shop()))\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*TypeError: check needs a checker: *"])


@pytest.mark.parametrize(("arguments", "seed"), [([], 0), (["--wfsim-seed", "9"], 9)])
def test_the_command_line_sets_the_seed_of_runs_that_name_none(session, arguments, seed) -> None:
    """A test that fixes its seed keeps it; any other can be replayed with another."""
    result = session(
        f"""
def test_it(wfsim):
    assert wfsim.seed == {seed}
    assert wfsim.run(shop()).seed == {seed}
    assert wfsim.run(shop(), seed=3).seed == 3
""",
        *arguments,
    )
    result.assert_outcomes(passed=1)


def test_the_fixture_has_every_name_of_the_module_that_it_hides(session) -> None:
    """``wfsim.fail`` means the same with the fixture as with the import; a wrong name says so."""
    result = session(
        """
import pytest

def test_it(wfsim):
    for name in front.__all__:
        assert name == "given" or getattr(wfsim, name) is getattr(front, name)  # given has the test's seed
    with pytest.raises(AttributeError, match="the wfsim fixture has no 'chrage'"):
        wfsim.chrage
"""
    )
    result.assert_outcomes(passed=1)


def test_it_runs_functions_of_both_kinds(session) -> None:
    """A coroutine function and a function that blocks are designs too; arguments are passed on."""
    result = session(
        """
import time

def test_it(wfsim):
    async def patient(days):
        await asyncio.sleep(days * 86_400)
        return days
    def blocking(days):
        time.sleep(days * 86_400)
        return days
    for main in (patient, blocking):
        run = wfsim.run(main, 2, max_time="3d")
        assert (run.value, run.duration) == (2, 172_800)
"""
    )
    result.assert_outcomes(passed=1)


@pytest.mark.usefixtures("installed")
def test_the_plugin_can_be_switched_off(pytester) -> None:
    """``-p no:wfsim`` leaves neither fixture nor option behind."""
    pytester.makepyfile("def test_it(wfsim):\n    pass\n")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    result = pytester.runpytest_subprocess("-p", "no:wfsim")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'wfsim' not found"])


@pytest.mark.usefixtures("installed")
def test_a_process_that_imports_everything_anew_tells_the_same(session, pytester) -> None:
    """A worker of a distributed session is a fresh interpreter: same test, same story, same seed."""
    here = session(f"def test_outage(wfsim):\n    assert wfsim.run(shop(), {OUTAGE}).ok\n")
    there = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    assert _timeline(there) == _timeline(here) != []


def _timeline(result: pytest.RunResult) -> list[str]:
    return [line.rstrip() for line in result.outlines if line[:6].strip(" ↯").startswith("0.")]


def test_a_sentence_passes(session) -> None:
    """A test is one sentence, about a design that holds."""
    result = session(
        """
def test_outage(wfsim):
    wfsim.given(shop()).under(wfsim.fail("charge")).when().then_compensated("reserve")
"""
    )
    result.assert_outcomes(passed=1)


def test_a_sentence_that_fails_tells_its_story_once(session, monkeypatch) -> None:
    """What was expected and what happened, the timeline, the seed, the command; one line in the summary."""
    monkeypatch.setenv("CI", "true")
    result = session(
        """
def test_outage(wfsim):
    wfsim.given(shop()).under(wfsim.fail("charge")).when().then_called("reserve", "charge")
""",
        "--wfsim-seed",
        "7",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E * wfsim.ExpectationFailed: then_called: compensate reserve not expected",
            "E * expected, in this order, and none other:",
            "E * what happened, in order:",
            "E * charge failed: InjectedFault, 2 attempts",
            "E * ✗ * compensate reserve ok * ←then_called",
            "E * seed 7; replay: pytest test_shop.py::test_outage --wfsim-seed 7",
            "FAILED *test_outage - wfsim.ExpectationFailed: then_called: compensate reserve not expected",
        ]
    )
    assert told(result).count("time   took") == 1
    assert "_outcome.py" not in told(result)


def test_a_sentence_may_fix_its_seed(session) -> None:
    """The command then names no other."""
    result = session("def test_it(wfsim):\n    wfsim.given(shop(), seed=3).when().then_failed()\n")
    result.stdout.fnmatch_lines(["E * seed 3; replay: pytest test_shop.py::test_it"])
