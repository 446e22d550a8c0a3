"""``wfsim run`` plays scenario files, tells what happened, and answers with its exit code."""

from __future__ import annotations

import json
import shlex

import pytest

from wfsim.cli import main
from wfsim.history import History

pytestmark = pytest.mark.usefixtures("folder")

GOOD, FAILING, BAD = "scenarios/good.yaml", "scenarios/failing.yml", "scenarios/broken/bad.yaml"


def test_one_good_file_is_told_in_full(capsys) -> None:
    """Timeline, table of runs, verdict of every expectation, last word; exit code 0, nothing on stderr."""
    assert main(["run", GOOD]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"bank outage  {GOOD}\n")
    assert "↯  0.030s           charge failed: ConnectionError: bank is down (injected)\n" in out
    assert "   3  error: RetriesExhausted" in out
    assert "✓  compensated_in_reverse: " in out
    assert "✓  effect_count(name=charge, exactly=0): " in out
    assert "PASSED  2 of 2 expectations met in 2 runs: 1.26s of virtual time in " in out
    assert "replay" not in out
    assert err == ""


def test_a_failure_exits_with_1_and_says_how_to_replay_it(capsys) -> None:
    """The replay command, typed as it stands, shows the same story and fails again."""
    assert main(["run", FAILING]) == 1
    out = capsys.readouterr().out
    assert "✗  effect_count(name=charge, exactly=1): seed 3: effect charge: 0, expected exactly 1\n" in out
    assert "\nFAILED  1 of 2 expectations met in 2 runs" in out
    program, *arguments = shlex.split(out.rpartition("replay: ")[2])
    assert (program, arguments) == ("wfsim", ["run", FAILING, "--seed", "3"])
    assert main(arguments) == 1
    again = capsys.readouterr().out
    assert _story(again) == _story(out)


def _story(out: str) -> list[str]:
    return [line for line in out.splitlines() if line[:12].strip(" ↯✗").startswith(("0.", "1."))]


def test_a_path_with_spaces_is_quoted_in_the_replay_command(folder, capsys) -> None:
    """What is printed to be typed can be typed."""
    (folder / "my scenario.yaml").write_text((folder / FAILING).read_text())
    assert main(["run", "my scenario.yaml"]) == 1
    assert "replay: wfsim run 'my scenario.yaml' --seed 3\n" in capsys.readouterr().out


def test_a_bad_file_exits_with_2_and_says_what_is_wrong(capsys) -> None:
    """The message of the scenario error, its place first, on stderr; no traceback; nothing on stdout."""
    assert main(["run", BAD]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"{BAD}:12:1: fautls: unknown key 'fautls'")
    assert err.rstrip().endswith("did you mean 'faults'?")
    assert "Traceback" not in err


def test_one_bad_file_does_not_keep_the_others_from_being_played(capsys) -> None:
    """Of a directory every file is reported, good, failing or bad; the worst decides the exit code."""
    assert main(["run", "scenarios"]) == 2
    out, err = capsys.readouterr()
    assert "bank outage" in out
    assert "\n3 files: 1 passed, 1 failed, 1 could not be read\n" in out
    assert f"replay: wfsim run {FAILING} --seed 3\n" in out
    assert err.count("fautls") == 2


def test_of_several_files_the_failing_one_is_told_in_full(capsys) -> None:
    """A reader of many results wants the timeline of what failed, and only that."""
    assert main(["run", GOOD, FAILING]) == 1
    out = capsys.readouterr().out
    assert out.count("Timeline") == 1
    assert out.index("wrong hope") < out.index("Timeline")


def test_of_several_good_files_the_most_telling_is_told(folder, capsys) -> None:
    """Even when all is well, one story is told: that of the run which met the most faults."""
    (folder / "calm.yaml").write_text(
        (folder / GOOD).read_text().replace("at: charge", "at: {step: charge, count: 1}")
    )
    (folder / "calm.yaml").write_text((folder / "calm.yaml").read_text().split("expect:")[0])
    assert main(["run", "calm.yaml", GOOD]) == 0
    out = capsys.readouterr().out
    assert out.count("Timeline") == 1
    assert "the most telling of all these: bank outage\n" in out


def test_the_same_file_given_twice_is_played_once(capsys) -> None:
    """A directory and a file in it name the same work."""
    main(["run", GOOD, GOOD, "--json"])
    assert list(json.loads(capsys.readouterr().out)["files"]) == [GOOD]


@pytest.mark.parametrize("seed", ["0", "7"])
def test_seed_plays_that_seed_alone(capsys, seed) -> None:
    """``--seed`` replaces the seeds of the scenario."""
    main(["run", GOOD, "--json", "--seed", seed])
    runs = json.loads(capsys.readouterr().out)["files"][GOOD]["runs"]
    assert [run["seed"] for run in runs] == [int(seed)]


def test_json_is_one_object_with_a_verdict_per_file(capsys) -> None:
    """Machines read per file its verdict; per run seed, outcome, virtual duration and fingerprint."""
    assert main(["run", "scenarios", "--json"]) == 2
    files = json.loads(capsys.readouterr().out)["files"]
    assert {file: told["verdict"] for file, told in files.items()} == {
        GOOD: "passed",
        FAILING: "failed",
        BAD: "error",
    }
    run = files[GOOD]["runs"][0]
    assert (run["seed"], run["outcome"], run["faults"]) == (3, "error", 3)
    assert run["duration_ns"] == round(run["duration_s"] * 1e9) > 0
    assert len(run["fingerprint"]) == 64
    assert [one["met"] for one in files[FAILING]["expectations"]] == [True, False]
    assert files[FAILING]["replay"] == f"wfsim run {FAILING} --seed 3"
    problem = files[BAD]["problems"][0]
    assert (problem["line"], problem["column"], problem["suggestion"]) == (12, 1, "faults")


def test_two_runs_give_the_same_json(capsys) -> None:
    """Same design, same seed, same history: the whole output is equal, fingerprints included."""
    main(["run", GOOD, FAILING, "--json"])
    first = capsys.readouterr().out
    main(["run", GOOD, FAILING, "--json"])
    assert capsys.readouterr().out == first


def test_what_a_design_prints_does_not_mix_with_json(folder, capsys) -> None:
    """A user's ``print`` goes to stderr when stdout belongs to the object."""
    (folder / "noisy.py").write_text("async def main():\n    print('hello from the design')\n")
    (folder / "noisy.yaml").write_text("design: noisy.py:main\nexpect: [outcome: ok]\n")
    code = main(["run", "noisy.yaml", "--json"])
    out, err = capsys.readouterr()
    assert json.loads(out)["files"]["noisy.yaml"]["verdict"] == "passed"
    assert code == 0
    assert "hello from the design" in err


def test_history_saves_the_told_run(folder, capsys) -> None:
    """The file holds the history of the run whose timeline was printed: its fingerprint says so."""
    assert main(["run", GOOD, "--json", "--seed", "4", "--history", "out.jsonl"]) == 0
    history = History.from_jsonl((folder / "out.jsonl").read_text())
    run = json.loads(capsys.readouterr().out)["files"][GOOD]["runs"][0]
    assert history.fingerprint() == run["fingerprint"]


@pytest.mark.parametrize(
    "arguments", [[GOOD, FAILING, "--history", "x.jsonl"], [GOOD, "--history", "no/x.jsonl"]]
)
def test_history_that_cannot_be_saved_is_bad_input(capsys, arguments) -> None:
    """Several files for one history, or a directory that is not there: said in one line."""
    assert main(["run", *arguments]) == 2
    err = capsys.readouterr().err
    assert "--history" in err
    assert len(err.splitlines()) == 1


def test_quiet_prints_a_line_a_file_and_how_to_replay(capsys) -> None:
    """For logs: no timeline, no verdict that is met."""
    assert main(["run", GOOD, FAILING, "--quiet"]) == 1
    out = capsys.readouterr().out
    assert "Timeline" not in out
    assert f"✓     2       6  2 of 2  {GOOD}\n" in out
    assert f"replay: wfsim run {FAILING} --seed 3\n" in out


def test_verbose_tells_everything(capsys) -> None:
    """Each file's timeline, passed or failed."""
    main(["run", GOOD, FAILING, "--verbose"])
    assert capsys.readouterr().out.count("Timeline") == 2


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "scenarios/god.yaml",
            "scenarios/god.yaml: no such file or directory; did you mean 'scenarios/good.yaml'?",
        ),
        ("empty", "empty: no scenario in this directory: it holds no .yaml or .yml file"),
    ],
)
def test_a_path_without_scenarios_is_bad_input(folder, capsys, path, message) -> None:
    """A misspelt path gets its neighbour as a suggestion."""
    (folder / "empty").mkdir()
    assert main(["run", path]) == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_a_link_that_leads_nowhere_says_so(folder, capsys) -> None:
    """The name is right; what it leads to is gone."""
    (folder / "old.yaml").symlink_to("gone.yaml")
    assert main(["run", "old.yaml"]) == 2
    assert capsys.readouterr().err == "old.yaml: a link to gone.yaml, which does not exist\n"


def test_hidden_files_of_a_directory_are_left_out(folder, capsys) -> None:
    """What a version control system or an editor keeps below a directory is no scenario."""
    hidden = folder / "scenarios" / ".old"
    hidden.mkdir()
    (hidden / "x.yaml").write_text("nonsense")
    main(["run", "scenarios", "--json"])
    assert list(json.loads(capsys.readouterr().out)["files"]) == [BAD, FAILING, GOOD]


def test_check_reads_and_runs_nothing(capsys, monkeypatch) -> None:
    """``wfsim check`` says of each file whether it is good; 2 if one is not."""
    monkeypatch.setattr("wfsim.kernel.Simulation.run", lambda *_: pytest.fail("it ran"))
    assert main(["check", GOOD]) == 0
    assert capsys.readouterr().out == f"{GOOD}: ok (bank outage)\n"
    assert main(["check", "scenarios", "nowhere"]) == 2
    out, err = capsys.readouterr()
    assert f"{GOOD}: ok" in out
    assert err.startswith(f"{BAD}:12:1: ")
    assert err.rstrip().endswith("nowhere: no such file or directory")


def test_check_warns_of_what_is_legal_and_hardly_meant(folder, capsys) -> None:
    """A state that nothing leads to is told with its place; the file is good all the same."""
    lines = [
        "design:",
        "  machine: door",
        "  states: [closed, {name: open, final: true}, ajar]",
        "  transitions:",
    ]
    (folder / "door.yaml").write_text(
        "\n".join([*lines, "    - {source: closed, target: open, trigger: push}\n"])
    )
    assert main(["check", "door.yaml"]) == 0
    out, err = capsys.readouterr()
    assert out == "door.yaml: ok (door)\n"
    assert err.startswith("door.yaml:3:47: design.states[2]: warning: state 'ajar' can never be reached")
