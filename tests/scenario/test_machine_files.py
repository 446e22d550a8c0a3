"""State machines described in a file: what they can say, what is refused, and what is only unlikely."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim.errors import ScenarioError
from wfsim.harness import run
from wfsim.scenario import ScenarioErrors, load_text, look_over

FLAT = """\
design:
  machine: door
  initial: closed
  transitions:
    - {source: closed, target: open, trigger: push}
    - {source: open, target: closed, after: 30s}
"""
PYTHON = """
from wfsim import StateMachine, effect

door = StateMachine("closed", name="door")
door.add_transition("closed", "open", "push", guard=lambda context: context.payload == "hard")
door.add_transition("open", "closed", "push")

cellar = StateMachine("up", name="cellar").add_transition("down", "up", "climb")

NUMBER = 3


def is_hard(context):
    return context.payload == "hard"


def ring(context):
    effect("ring", context.input)


def make():
    return door
"""


def states(experiment, seed=0, number=None):
    """Give the states that the machine (of one instance) went through, with the times in seconds."""
    history = run(experiment, seed).run.history
    return [
        (op.data["to"][-1], op.time_ns / 1e9)
        for op in history.where(kind="transition")
        if number is None or op.process.endswith(f"-{number}")
    ]


def flow(*lines, events="", more=""):
    body = "".join(f"{line}\n" for line in lines)
    workload = f"workload:\n  events: {events}\n" if events else ""
    return load_text(f"design:\n  machine: m\n{body}{workload}{more}")


def test_states_need_not_be_listed():
    """As in Python, transitions name plain states; times pass by themselves."""
    experiment = load_text(f"{FLAT}workload: {{events: [push, {{trigger: push, after: 1m}}]}}\n")
    assert states(experiment) == [("closed", 0), ("open", 0), ("closed", 30), ("open", 60), ("closed", 90)]


def test_states_nest_run_in_parallel_and_are_remembered():
    """A work order in two regions is interrupted, and goes on where both were."""
    experiment = flow(
        "  states:",
        "    - name: working",
        "      parallel: true",
        "      states:",
        "        - name: left",
        "          initial: l2",
        "          states: [l1, l2, {name: l3, final: true}]",
        "        - {name: right, states: [r1, {name: r3, final: true}]}",
        "        - {name: back, history: deep}",
        "    - paused",
        "    - {name: done, final: true, output: {count: 2}}",
        "  transitions:",
        "    - {source: l2, target: l3, trigger: saw}",
        "    - {source: r1, target: r3, trigger: sand}",
        "    - {source: working, target: paused, trigger: pause}",
        "    - {source: paused, target: back, trigger: resume}",
        "    - {source: working, target: done, trigger: done.state.working}",
        events="[saw, pause, resume, sand]",
    )
    history = run(experiment).run.history
    assert [op.data["to"] for op in history.where(kind="transition")] == [
        ["l2", "r1"],
        ["l3", "r1"],
        ["paused"],
        ["l3", "r1"],
        ["l3", "r3"],
        ["done"],
    ]
    assert history.where(kind="done")[0].data["output"] == {"count": 2}


def test_a_machine_begins_in_its_first_state():
    """Without ``initial`` the first of the states, or the source of the first transition."""
    assert (
        states(flow("  states: [b, a]", "  transitions: [{source: a, target: b, trigger: go}]"))[0][0] == "b"
    )
    assert states(flow("  transitions: [{source: a, target: b, trigger: go}]"))[0][0] == "a"


def test_a_guard_agrees_with_its_probability():
    """About so often, the same for the same seed, and always or never at the ends."""
    lines = (
        "  transitions:\n    - {source: a, target: b, trigger: go, guard: %s}\n"
        "    - {source: a, target: c, trigger: go}"
    )
    ends = [states(flow(lines % 0.7, events="[go]"), seed)[-1][0] for seed in range(60)]
    assert 30 < ends.count("b") < 55
    assert ends == [states(flow(lines % 0.7, events="[go]"), seed)[-1][0] for seed in range(60)]
    for probability, end in ((0, "c"), (1, "b"), ("{probability: 1.0, name: sure}", "b")):
        assert states(flow(lines % probability, events="[go]"))[-1][0] == end


def test_guards_and_actions_may_be_python_functions(tmp_path):
    """A reference is what its function is in Python: it gets the context, and what came with the event."""
    (tmp_path / "door.py").write_text(PYTHON)
    text = f"{FLAT.replace('push}', 'push, guard: door.py:is_hard, action: [door.py:ring]}')}workload:\n"
    events = "  instances: 2\n  input: door-{i}\n  events: [push, {trigger: push, payload: hard}]\n"
    done = run(load_text(text + events, folder=tmp_path)).run
    assert [op.data["key"] for op in done.history.where(kind="effect")] == ["door-1", "door-2"]
    assert len(done.history.where(kind="drop")) == 2


def test_actions_take_their_time_have_effects_and_raise_events():
    """Exit, action and entry in this order, each with its latency; what an action raises comes next."""
    experiment = flow(
        "  states:",
        "    - {name: a, on_exit: lock up}",
        "    - {name: b, on_entry: {name: unlock, latency: 2s, effect: null, raises: unlocked}}",
        "    - {name: c, final: true}",
        "  transitions:",
        "    - {source: a, target: b, trigger: go, action: [{name: drive, latency: 1m}, {name: park, latency: 5s}]}",
        "    - {source: b, target: c, trigger: unlocked}",
        events="[go]",
    )
    history = run(experiment).run.history
    assert [op.name for op in history.where(kind="effect")] == ["lock up", "drive", "park"]
    assert [op.data["key"] for op in history.where(kind="effect")] == ["m-1"] * 3
    assert states(experiment)[-2:] == [("b", 67.001), ("c", 67.001)]


def test_an_action_may_fail_time_out_and_be_tried_again():
    """The words are those of any call; after the last try the machine hears ``error``."""
    experiment = flow(
        "  transitions:",
        "    - source: a",
        "      target: b",
        "      trigger: go",
        "      action: {name: call, latency: 10s, timeout: 1s, effect: null, retry: {attempts: 3, delay: 1s}}",
        '    - {source: "*", target: lost, trigger: error}',
        events="[go]",
    )
    history = run(experiment).run.history
    assert [op.attempt for op in history.where(kind="action", type="invoke")] == [1, 2, 3]
    assert states(experiment)[-1][0] == "lost"
    failing = flow(
        "  transitions:",
        "    - {source: a, target: b, trigger: go, action: {name: call, failure_probability: 1, error: OSError}}",
        events="[go]",
    )
    assert type(run(failing).run.error) is OSError


def test_an_idempotent_action_does_its_work_once_for_each_step():
    """After a crash the action is called again, and its service knows it; the next time round it is new work."""
    text = """\
design:
  machine: subscription
  journal: true
  transitions:
    - {source: running, target: running, trigger: month, action: {name: charge, latency: 1s, idempotent: %s}}
workload: {events: [month, {trigger: month, after: 1h}]}
faults:
  - crash: {restart_after: 1m}
    at: {step: charge, point: reply, count: 1}
"""
    for idempotent, charges in (("true", 2), ("false", 3)):
        done = run(load_text(text % idempotent)).run
        assert len(done.history.where(kind="effect")) == charges


def test_events_have_times_of_their_own_for_each_instance():
    """``at`` counts from the start of the instance, ``after`` from the event before; both may be drawn."""
    experiment = load_text(
        f"{FLAT}workload:\n  instances: 2\n  arrivals: 1h\n"
        "  events: [{trigger: push, at: 10s}, {trigger: push, after: 1m}, {trigger: push, at: 5m..6m}]\n"
    )
    first, second = ([at for name, at in states(experiment, number=n) if name == "open"] for n in (1, 2))
    assert first[:2] == [10, 70]
    assert second[:2] == [3610, 3670]
    assert 300 <= first[2] <= 360
    assert first[2] != pytest.approx(second[2] - 3600)


def test_machines_of_python_get_events_too(tmp_path):
    """Events are a workload: a machine that a reference or a factory gives hears them as well."""
    (tmp_path / "door.py").write_text(PYTHON)
    for design in ("door.py:door", "{factory: door.py:make}"):
        text = f"design: {design}\nworkload: {{events: [{{trigger: push, payload: hard}}]}}\n"
        assert states(load_text(text, folder=tmp_path))[-1] == ("open", 0)


def test_the_payload_knows_the_instance():
    """``{i}`` is the number of the instance, as in ``input``."""
    experiment = load_text(
        f"{FLAT}workload: {{events: [{{trigger: push, payload: {{by: 'guest {{i}}'}}}}]}}\n"
    )
    assert run(experiment).run.history.where(kind="trigger")[0].data["payload"] == {"by": "guest 1"}


def test_what_the_machine_does_with_errors_and_strays_can_be_said():
    """``unhandled``, ``errors``, ``data``, ``in_state`` and ``always`` are those of Python."""
    refusing = flow(
        "  unhandled: raise",
        "  transitions:",
        "    - {source: a, target: b, trigger: go}",
        events="[go, go]",
    )
    assert type(run(refusing).run.error).__name__ == "EventRefused"
    going_on = flow(
        "  errors: continue",
        "  data: {count: 1}",
        "  transitions:",
        "    - {source: a, target: b, trigger: go, action: {name: call, failure_probability: 1}}",
        "    - {source: b, target: c, always: true, in_state: b}",
        events="[go]",
    )
    assert states(going_on)[-1][0] == "c"


@pytest.mark.parametrize("point", ["persist", "call", "reply"])
def test_faults_strike_machines_of_a_file(point):
    """The names of states, actions and of the journal's records can be selected."""
    step = "step" if point == "persist" else "work"
    experiment = flow(
        "  journal: {sync: true, latency: 2ms}",
        "  transitions:",
        "    - {source: a, target: b, trigger: go, action: {name: work, idempotent: true}}",
        events="[go]",
        more=f"faults:\n  - crash: {{restart_after: 1s}}\n    at: {{step: {step}, point: {point}, count: 1}}\n",
    )
    done = run(experiment).run
    assert len(done.history.where(kind="fault")) == 1
    assert len(done.history.where(kind="effect")) == 1
    assert done.history.where(kind="transition")[-1].data["to"] == ["b"]


def test_what_is_most_likely_a_mistake_is_told_with_its_place(tmp_path):
    """Legal, and hardly meant: each finding of the machine's own check, at the part that it is about."""
    (tmp_path / "door.py").write_text(PYTHON)
    file = tmp_path / "odd.yaml"
    file.write_text(
        "design:\n  machine: m\n  initial: a\n  states:\n    - a\n    - b\n    - name: c\n      states: [d]\n"
        "  transitions:\n"
        "    - {source: a, target: b, trigger: go}\n"
        "    - {source: a, target: a, trigger: go}\n"
    )
    experiment, remarks = look_over(file)
    assert experiment.name == "odd"
    assert [str(remark).removeprefix(f"{file}:") for remark in remarks] == [
        (
            "6:7: design.states[1]: warning: nothing leads out of state 'b', and it is not final; add a transition, or "
            "final: true if the machine may end there"
        ),
        (
            "7:7: design.states[2]: warning: state 'c' and the states inside it can never be reached: no transition "
            "leads to it from where the machine can be"
        ),
        (
            "10:7: design.transitions[0]: warning: 'a -> b on go' and 'a -> a on go' leave the same state on 'go', "
            "both without a guard, so the first is always taken; guard one of them, or name another event"
        ),
    ]
    file.write_text("design: door.py:cellar\n")
    assert [(remark.line, remark.field) for remark in look_over(file)[1]] == [(1, "design"), (1, "design")]
    file.write_text(FLAT)
    assert look_over(file)[1] == ()
    file.write_text("design: {saga: s, steps: [{name: a}]}\n")
    assert look_over(file)[1] == ()


HEAD = "design:\n  machine: m\n"
GO = "    - {source: a, target: b, trigger: go}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{HEAD}  initial: x\n  transitions:\n{GO}",
            "3:12: design.initial: unknown state 'x'; allowed: a, b",
        ),
        (
            f"{HEAD}  states: [a, parallel: true]\n  transitions:\n{GO}",
            "3:15: design.states[1].name: 'name' is missing",
        ),
        (
            f"{HEAD}  states:\n    - {{name: a, parallel: true}}\n    - b\n  transitions:\n{GO}",
            "4:7: design.states[0]: the parallel state 'a' of state machine 'm' has no regions",
        ),
        (
            f"{HEAD}  states:\n    - {{name: a, final: true}}\n    - b\n  transitions:\n{GO}",
            "7:7: design.transitions[0]: transition 'a -> b on go' of state machine 'm' leads out of the final state",
        ),
        (
            f"{HEAD}  states:\n    - a\n    - b\n    - {{name: h, history: deep}}\n  transitions:\n{GO}",
            "6:7: design.states[2]: history state 'h' has no parent",
        ),
        (
            f"{HEAD}  transitions:\n    - {{source: a, target: b, trigger: go, after: 3s}}\n",
            "4:7: design.transitions[0]: 'a -> b' has both trigger and after; add a transition for each",
        ),
        (
            f"{HEAD}  transitions:\n    - {{source: a, target: b, trigger: go, internal: true}}\n",
            "4:7: design.transitions[0]: transition 'a -> b on go' of state machine 'm' is internal, but",
        ),
        (
            f"{HEAD}  states: [a, b, a]\n  transitions:\n{GO}",
            "3:18: design.states[2].name: the name 'a' is taken by states[0]",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(text, message):
    """The error names line, column, field, what is wrong and what is right."""
    with pytest.raises(ScenarioError) as caught:
        load_text(text)
    assert message in str(caught.value)


_NAMES = st.sampled_from(["a", "b", "c", "*", "go", "1s", "shallow", "x:y", ""])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | _NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "states", "final", "probability", "raises"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_OF_A_STATE = ("name", "initial", "parallel", "final", "history", "on_entry", "output", "states")
_OF_A_TRANSITION = (
    "source",
    "target",
    "trigger",
    "after",
    "always",
    "guard",
    "in_state",
    "action",
    "internal",
)
_STATE = st.one_of(_NAMES, st.dictionaries(st.sampled_from(_OF_A_STATE), _VALUES, max_size=3))
_TRANSITION = st.dictionaries(st.sampled_from(_OF_A_TRANSITION), _VALUES, max_size=3)


@settings(max_examples=400, deadline=None)
@given(st.lists(_STATE, max_size=3), st.lists(_TRANSITION, min_size=1, max_size=3), _VALUES)
def test_no_machine_makes_a_traceback(listed, transitions, initial):
    """Whatever a file says of a machine: it is one, or each problem has its place."""
    design = {"machine": "m", "states": ["a", "b", *listed], "initial": initial}
    design["transitions"] = [{"source": "a", "target": "b"} | one for one in transitions]
    assert all(error.line == 1 and error.column > 1 for error in errors_of({"design": design}))


def errors_of(data):
    try:
        load_text(json.dumps(data))
    except ScenarioErrors as errors:
        return errors.errors
    return ()
