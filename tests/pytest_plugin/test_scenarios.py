"""Scenario files are tests: good ones pass, failing ones tell their story, wrong ones say what is wrong."""

from __future__ import annotations

import shlex

import pytest

pytest_plugins = ["pytester"]

GOOD = """\
name: bank outage
design:
  saga: shop
  steps:
    - name: reserve
      latency: 30ms
      compensate: release
    - name: charge
      latency: 20ms..80ms
faults:
  - fail: {error: ConnectionError, message: bank is down}
    at: charge
expect:
  - compensated_in_reverse
  - effect_count: {name: charge, exactly: 0}
seeds: [3, 4]
"""
FAILING = GOOD.replace("exactly: 0", "exactly: 1")


@pytest.fixture
def files(pytester):
    """Write scenario files; the argument's names are paths."""

    def write(**texts: str) -> None:
        for name, text in texts.items():
            path = pytester.path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


def test_a_scenario_file_is_a_test(session, files) -> None:
    """Every YAML file below a directory named scenarios is collected; all of its seeds are one test."""
    files(scenarios__good=GOOD, scenarios__deep__down__too=GOOD, parts__scenarios__also=GOOD)
    result = session("", "-v")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["scenarios/deep/down/too.yaml::bank outage PASSED*"])


def test_a_failing_scenario_tells_its_story(session, files) -> None:
    """What was expected and found, the timeline, the seed, and both commands that replay it; no traceback."""
    files(scenarios__failing=FAILING)
    result = session()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*_ scenario bank outage _*",
            "effect_count: effect charge: 0, expected exactly 1",
            "bank outage  scenarios/failing.yaml",
            "Timeline * (seed 3)",
            "*charge failed: ConnectionError: bank is down (injected)",
            "✗  effect_count(name=charge, exactly=1): seed 3: effect charge: 0, expected exactly 1",
            "FAILED  1 of 2 expectations met in 2 runs",
            "replay: wfsim run scenarios/failing.yaml --seed 3",
            "or:     pytest 'scenarios/failing.yaml::bank outage' --wfsim-seed 3",
            "FAILED scenarios/failing.yaml::bank outage - effect_count: effect charge*",
        ]
    )
    assert "Traceback" not in str(result.stdout)
    assert "_pytest" not in str(result.stdout)


def test_the_printed_pytest_command_replays_the_failure(session, files) -> None:
    """Typed as it stands it runs that one scenario with that one seed, and fails again."""
    files(scenarios__failing=FAILING, scenarios__good=GOOD)
    line = next(line for line in session().outlines if line.startswith("or: "))
    again = session("", *shlex.split(line)[2:])
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["Timeline (seed 3)", "FAILED  1 of 2 expectations met in 1 run"])


def test_a_wrong_file_is_a_clear_collection_error(session, files) -> None:
    """File, line, column, field, what is wrong and what was meant; no traceback."""
    files(scenarios__bad=GOOD.replace("seeds:", "sedes:"))
    result = session()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*_ ERROR collecting scenarios/bad.yaml _*",
            "scenarios/bad.yaml:*: sedes: unknown key 'sedes'*did you mean 'seeds'?",
        ]
    )
    assert "Traceback" not in str(result.stdout)


def test_a_file_that_is_no_yaml_is_a_clear_collection_error(session, files) -> None:
    """A slip of the keyboard is reported with its place."""
    files(scenarios__bad=GOOD.replace("steps:", "steps"))
    result = session()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["scenarios/bad.yaml:*"])
    assert "Traceback" not in str(result.stdout)


def test_yaml_of_others_is_left_alone(session, files) -> None:
    """Not every file in a directory of that name is ours, and not every scenario-like file elsewhere."""
    files(
        scenarios__compose="services:\n  db: {image: postgres}\n",
        scenarios__playbook="- hosts: all\n",
        other=GOOD,
    )
    session("def test_it():\n    pass\n").assert_outcomes(passed=1)


def test_a_file_named_on_the_command_line_is_run_wherever_it_is(session, files) -> None:
    """Who names a file means it."""
    files(other=GOOD)
    session("", "other.yaml").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("ini", "collected"),
    [
        ("", ["scenarios/a.yaml"]),
        ("wfsim_scenarios = stories", ["stories/b.yaml"]),
        ("wfsim_scenarios = scenarios st*es", ["scenarios/a.yaml", "stories/b.yaml"]),
        ("wfsim_scenarios = qa/flows", ["qa/flows/c.yaml"]),
        ("wfsim_scenarios = */flows", ["qa/flows/c.yaml"]),
        ("wfsim_scenarios =", []),
    ],
)
def test_the_directories_are_an_ini_option(session, files, pytester, ini, collected) -> None:
    """A name means any directory of that name, a path that directory from the root; nothing means none."""
    files(scenarios__a=GOOD, stories__b=GOOD, qa__flows__c=GOOD)
    pytester.makeini(f"[pytest]\n{ini}\n")
    result = session("", "--collect-only", "-q")
    found = [line.partition("::")[0] for line in result.outlines if "::" in line]
    assert sorted(found) == sorted(collected)


def test_an_error_of_the_design_itself_is_named(session, files, pytester) -> None:
    """A run whose error was not expected fails with the error's name and message."""
    pytester.makepyfile(buggy="async def main():\n    return 1 / 0\n")
    files(scenarios__buggy="design: ../buggy.py:main\nexpect: [outcome: ok]\n")
    result = session()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["outcome: *ZeroDivisionError: division by zero*"])
