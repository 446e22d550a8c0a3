"""Right files: what each section makes of the experiment."""

from __future__ import annotations

import json
import textwrap

import pytest

from wfsim import scenario
from wfsim.harness import DesignTarget, Factory, FunctionTarget, run, run_all
from wfsim.history import describe_error
from wfsim.kernel import Bounds, Simulation, constant, exponential, lognormal, uniform
from wfsim.nemesis import Crash, Delay, Fail, Hang, LoseReply, Rule
from wfsim.scenario import load, load_text

SAGA = """\
design:
  saga: checkout
  steps:
    - name: reserve
      compensate: release
    - name: charge
"""


def faults(text):
    """Read the faults of a saga and return its rules."""
    return load_text(f"{SAGA}faults:\n{text}").faults


def step(text, key="order-1"):
    """Run a saga of one step that is described by ``text``, and return its effects and its run."""
    lines = "".join(f"      {line}\n" for line in text.splitlines())
    done = run(
        load_text(f"design:\n  saga: one\n  steps:\n    - name: work\n{lines}workload: {{input: {key}}}\n")
    )
    return [(op.name, op.data["key"]) for op in done.run.history.where(kind="effect")], done.run


def test_a_file_is_loaded_by_its_path(folder):
    """The name comes from the file unless it is given; references start from the file's folder."""
    path = folder / "lost-reply.yaml"
    path.write_text("design: designs.py:checkout\n")
    experiment = load(path)
    assert (experiment.name, experiment.source) == ("lost reply", str(path))
    assert isinstance(experiment.design, FunctionTarget)
    assert run(experiment).run.outcome == "ok"


def test_defaults_are_those_of_the_harness():
    """A file needs a design and nothing else."""
    experiment = load_text(SAGA)
    assert (experiment.seeds, experiment.faults, experiment.expectations) == ((0,), (), ())
    assert (experiment.bounds, experiment.workload.instances) == (Bounds(), 1)
    assert (experiment.heal_after_ns, experiment.description) == (None, "")


def test_every_section_reaches_the_experiment():
    """Name, description, seeds, bounds, start, healing and settling are taken over."""
    experiment = load_text(
        f"{SAGA}name: outage\ndescription: what is to be seen\nseeds: [3, 1]\nstart: 2040-02-03\n"
        "bounds: {time: 1h, steps: 1_000, stalled_steps: 50, operations: 70}\nheal_after: 90s\nsettle: 0s\n"
    )
    assert (experiment.name, experiment.description) == ("outage", "what is to be seen")
    assert (experiment.seeds, experiment.start) == ((3, 1), "2040-02-03")
    assert experiment.bounds == Bounds(time_ns=3600 * 10**9, steps=1000, stalled_steps=50, operations=70)
    assert (experiment.heal_after_ns, experiment.settle_ns) == (90 * 10**9, 0)


def test_a_number_of_seeds_counts_from_zero():
    """``seeds: 3`` is short for [0, 1, 2]."""
    assert load_text(f"{SAGA}seeds: 3\n").seeds == (0, 1, 2)


def test_json_is_read_too(folder):
    """A scenario may be JSON, tabs included."""
    data = {"design": {"saga": "checkout", "steps": [{"name": "charge"}]}, "seeds": [1, 2]}
    path = folder / "outage.json"
    path.write_text(json.dumps(data, indent="\t"))
    assert load(path).seeds == (1, 2)


def test_a_byte_order_mark_does_no_harm(folder):
    """Some editors write one."""
    path = folder / "marked.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + SAGA.encode())
    assert load(path).name == "marked"


def test_the_example_of_the_documentation_is_a_right_file():
    """What the room's own documentation shows can be loaded, and it runs."""
    text = scenario.__doc__.partition("these sections::")[2].partition("``load`` reads")[0]
    experiment = load_text(textwrap.dedent(text))
    assert (len(experiment.faults), len(experiment.expectations)) == (1, 3)
    assert run(experiment).run.outcome in {"ok", "error"}


# -- designs


def test_python_designs(folder):
    """A reference names a function, an object, or a class that is made anew for each run."""
    kinds = {
        "designs.py:checkout": FunctionTarget,
        "designs.py:saga": DesignTarget,
        "designs.py:Shop": Factory,
    }
    for reference, kind in kinds.items():
        assert isinstance(load_text(f"design: {reference}\n", folder=folder).design, kind)


def test_modules_are_found_beside_the_file(folder):
    """``module:attribute`` is imported with the file's folder on the search path."""
    (folder / "beside_the_scenario.py").write_text("from designs import saga\n")
    experiment = load_text("design: beside_the_scenario:saga\n", folder=folder)
    assert experiment.design.describe().steps == ("reserve",)


def test_a_factory_gets_its_options(folder):
    """``with`` gives the keyword arguments; a factory that takes anything gets what is written."""
    text = "design:\n  factory: designs.py:Shop\n  with: {patience: 5}\nworkload:\n  input: order-{i}\n"
    experiment = load_text(text, folder=folder)
    assert [run(experiment).run.value for _ in range(2)] == [("hello", 5, 1, "order-1")] * 2
    text = "design:\n  factory: designs.py:make\n  with: {whatever: [1, 2]}\n"
    assert run(load_text(text, folder=folder)).run.outcome == "ok"


def test_a_file_is_executed_anew_for_each_scenario(folder):
    """Two scenarios that name one file share no globals."""
    first, second = (load_text("design: designs.py:saga\n", folder=folder) for _ in range(2))
    assert first.design.design is not second.design.design


def test_an_inline_saga_runs_and_compensates():
    """Steps take their time, change the world, and are undone under their key."""
    experiment = load_text(
        "design:\n  saga: checkout\n  steps:\n"
        "    - {name: reserve, latency: 2s, compensate: {effect: release, latency: 1s}}\n"
        "    - {name: charge, latency: 3s}\n"
        "faults:\n  - fail: KeyError\n    at: charge\n"
    )
    done = run(experiment).run
    told = [(op.name, op.data["key"], op.time_ns // 10**9) for op in done.history.where(kind="effect")]
    assert told == [("reserve", "checkout-1", 2), ("release", "checkout-1", 3)]
    assert type(done.error) is KeyError


def test_an_inline_dag_runs_side_by_side():
    """Tasks that do not depend on each other share the time."""
    experiment = load_text(
        "design:\n  dag: etl\n  tasks:\n    - {name: a, latency: 2s}\n    - {name: b, latency: 3s}\n"
        "    - {name: c, latency: 1s, depends_on: [a, b]}\n"
    )
    done = run(experiment).run
    assert (done.outcome, done.duration) == ("ok", 4.0)
    assert [op.name for op in done.history.where(kind="effect")] == ["a", "b", "c"]


def test_effects_may_be_named_or_left_out():
    """By default a step's effect bears its name, and its compensation's says what it undoes."""
    assert step("")[0] == [("work", "order-1")]
    assert step("effect: charged")[0] == [("charged", "order-1")]
    assert step("effect: null")[0] == []
    experiment = load_text(
        "design:\n  saga: s\n  steps:\n    - {name: a, compensate: {}}\n    - {name: b}\nfaults:\n"
        "  - {fail: , at: b}\n"
    )
    assert [op.name for op in run(experiment).run.history.where(kind="effect")] == ["a", "undo a"]


def test_a_step_fails_with_its_probability():
    """Zero never, one always; the error is the one that is named."""
    assert step("failure_probability: 0")[1].outcome == "ok"
    effects, done = step("failure_probability: 1\nerror: OSError")
    assert (effects, describe_error(done.error)) == ([], {"error": "OSError", "message": "work failed"})


def test_failures_are_drawn_from_the_seed():
    """Some seeds fail and some do not, and always the same ones."""
    text = "design:\n  saga: s\n  steps:\n    - {name: a, failure_probability: 0.5}\nseeds: 20\n"
    outcomes = [[one.run.outcome for one in run_all(load_text(text)).runs] for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {"ok", "error"}


def test_an_idempotent_step_works_once_for_each_key():
    """Its reply is lost, it is tried again, and nothing happens twice."""
    for idempotent, count in (("false", 2), ("true", 1)):
        text = (
            f"design:\n  saga: s\n  steps:\n    - {{name: a, idempotent: {idempotent}, retry: 2}}\n"
            "faults:\n  - lose_reply:\n    at: {attempt: 1}\n"
        )
        assert len(run(load_text(text)).run.history.where(kind="effect")) == count


def test_a_call_that_timed_out_may_still_take_effect():
    """The service finishes its work although the caller has gone; the run waits to see it."""
    effects, done = step("latency: 5s\ntimeout: 2s")
    assert (type(done.error), done.duration, effects) == (TimeoutError, 5.0, [("work", "order-1")])
    late = next(op for op in done.history.where(kind="effect"))
    assert late.time_ns == 5 * 10**9


def test_each_try_has_the_timeout_for_itself():
    """A timeout stands around each attempt, not around all of them."""
    _, done = step("latency: 5s\ntimeout: 2s\nretry: {attempts: 3, delay: 1s, backoff: fixed}")
    attempts = done.history.where(kind="forward", type="invoke")
    assert [op.time_ns // 10**9 for op in attempts] == [0, 3, 6]


def test_retries_take_the_options_of_the_policy():
    """A number is the attempts; retry_on names errors."""
    assert step("retry: 4\nfailure_probability: 1")[1].error.attempts == 4
    done = step(
        "retry: {attempts: 4, retry_on: [OSError, KeyError]}\nfailure_probability: 1\nerror: ValueError"
    )[1]
    assert type(done.error) is ValueError


def test_the_input_is_filled_in_for_each_instance():
    """``{i}`` becomes the instance's number, at any depth."""
    experiment = load_text(
        f"{SAGA}workload: {{instances: 2, arrivals: 1s, input: {{order: 'o-{{i}}', lines: ['{{i}}', 3]}}}}\n"
    )
    assert experiment.workload.arguments(2, Simulation().stream) == ({"order": "o-2", "lines": ["2", 3]},)
    assert experiment.workload.arrivals == constant("1s")


def test_the_words_of_yaml_1_1_are_plain_text():
    """``on`` is a key like any other, ``1:30`` no number, and yes no truth value."""
    assert faults("  - hang:\n    at: {on: compensate, process: yes}\n") == (
        Rule(Hang(), on="compensate", process="yes"),
    )


# -- faults


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("fail:", Rule(Fail())),
        ("fail: ConnectionError", Rule(Fail(ConnectionError))),
        ("fail: {error: OSError, message: down}", Rule(Fail(OSError("down")))),
        ("delay: 2s", Rule(Delay(constant("2s")))),
        ("delay: 0.5", Rule(Delay(constant(0.5)))),
        ("delay: 1s..2s", Rule(Delay(uniform("1s", "2s")))),
        ("delay: {exponential: 2s}", Rule(Delay(exponential("2s")))),
        ("delay: {lognormal: [2s, 0.5]}", Rule(Delay(lognormal("2s", 0.5)))),
        ("hang:", Rule(Hang())),
        ("lose_reply: {}", Rule(LoseReply())),
        ("crash:", Rule(Crash())),
        ("crash: 5s", Rule(Crash("5s"))),
        ("crash: {restart_after: 5s}", Rule(Crash("5s"))),
    ],
)
def test_each_kind_of_fault(text, rule):
    """The short and the long way to write a fault."""
    assert faults(f"  - {text}\n") == (rule,)


@pytest.mark.parametrize(
    ("text", "selectors"),
    [
        ("charge", {"step": "charge"}),
        (
            "{step: 'ch*', on: forward, design: checkout}",
            {"step": "ch*", "on": "forward", "design": "checkout"},
        ),
        ("{attempt: 2}", {"attempt": 2}),
        ("{attempt: [1, 3]}", {"attempt": [1, 3]}),
        ("{attempt: 1..3}", {"attempt": range(1, 4)}),
        ("{after: 10s, before: 1m}", {"after": "10s", "before": "1m"}),
        ("{probability: 0.5, count: 2, point: reply}", {"probability": 0.5, "count": 2, "point": "reply"}),
        ("{skip: 2, count: 1}", {"skip": 2, "count": 1}),
        ("{process: checkout-2}", {"process": "checkout-2"}),
    ],
)
def test_each_selector_of_at(text, selectors):
    """``at`` says where; a name alone is a step."""
    assert faults(f"  - hang:\n    at: {text}\n") == (Rule(Hang(), **selectors),)


def test_an_exception_of_ones_own(folder):
    """A fault may raise the design's own exception."""
    fault = "fail: {error: 'designs.py:OutOfStock', message: none left}"
    error = (
        load_text(f"design: designs.py:checkout\nfaults:\n  - {fault}\n", folder=folder).faults[0].fault.error
    )
    assert (type(error).__name__, str(error)) == ("OutOfStock", "none left")


# -- expectations


def test_expectations_hold_or_break():
    """A list alone must hold; ``breaks`` is for what must be found broken."""
    listed = load_text(f"{SAGA}expect:\n  - outcome\n  - success_rate: 0.5\n").expectations
    assert [(str(one), one.breaks) for one in listed] == [
        ("outcome", False),
        ("success_rate(at_least=0.5)", False),
    ]
    both = load_text(
        f"{SAGA}expect:\n  holds:\n    - completes_within: {{duration: 2s, percentile: 90}}\n"
        "  breaks:\n    - effect_at_most_once: charge\n"
    ).expectations
    assert [(str(one), one.breaks) for one in both] == [
        ("completes_within(duration=2s, percentile=90.0)", False),
        ("effect_at_most_once(name=charge)", True),
    ]


def test_the_options_of_a_checker_are_those_of_its_signature():
    """Lists, words and numbers reach the checker as it wants them."""
    text = f"{SAGA}expect:\n  - retried_as_policy: {{step: charge, attempts: 3, delays: [1s, 2s]}}\n"
    expectation = load_text(text).expectations[0]
    assert expectation.options == {"step": "charge", "attempts": 3, "delays": ["1s", "2s"]}
    assert run(load_text(text)).verdicts[0].valid == "unknown"


def test_a_scenario_of_a_broken_design_passes_only_if_the_break_is_found():
    """``breaks`` fails on a design that is right."""
    text = f"{SAGA}expect:\n  breaks:\n    - outcome: ok\n"
    assert not run_all(load_text(text)).passed
    assert run_all(load_text(f"{text}faults:\n  - fail:\n    at: charge\n")).passed
