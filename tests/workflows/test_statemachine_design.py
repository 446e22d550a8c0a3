"""What a state machine refuses while it is built, and what ``check`` finds in one that is legal."""

from __future__ import annotations

import pytest

from wfsim import StateMachine, simulate
from wfsim.errors import DesignError


def machine(*transitions, initial="a", **options):
    made = StateMachine(initial, name="m", **options)
    for source, target, *cue in transitions:
        made.add_transition(source, target, *cue)
    return made


def no(*_args):
    return False


WRONG = {
    "no such initial state": (
        lambda: machine(("idle", "running"), initial="idel").chart(),
        r"initial state 'idel' of state machine 'm' is in none of its transitions; did you mean 'idle'\?",
    ),
    "no such initial state beside those added": (
        lambda: machine(("idle", "running"), initial="new").add_state("idle").chart(),
        "initial state 'new' of state machine 'm' is in none of its transitions; add it, or name one of idle, running",
    ),
    "a state without a name": (
        lambda: machine().add_state(""),
        "the name of a state of state machine 'm' must be a text, not ''",
    ),
    "a target that was never added": (
        lambda: machine(("a", "runing")).add_state("a").add_state("running").chart(),
        r"'runing' is no state of state machine 'm'; did you mean 'running'\?",
    ),
    "no such parent": (
        lambda: machine().add_state("a").add_state("b", parent="B").chart(),
        r"the parent 'B' of state 'b' is no state of state machine 'm'; did you mean 'b'\?|is no state",
    ),
    "parents in a circle": (
        lambda: machine().add_state("a").add_state("b", parent="c").add_state("c", parent="b").chart(),
        "the parents of b, c in state machine 'm' run in a circle",
    ),
    "a negative delay": (
        lambda: machine().add_transition("a", "b", after="-5m"),
        "after of transition 'a -> b': '-5m' is no duration, because it is negative; it must be 0 or longer",
    ),
    "a transition out of a final state": (
        lambda: machine(("end", "a", "go")).add_state("a").add_state("end", final=True).chart(),
        r"transition 'end -> a on go' of state machine 'm' leads out of the final state 'end'",
    ),
    "history without a parent": (
        lambda: machine().add_state("h", history="deep"),
        "history state 'h' has no parent, so there is nothing that it could remember",
    ),
    "an unknown kind of history": (
        lambda: machine().add_state("h", parent="a", history="deap"),
        r"history of state 'h' is 'deap'; did you mean 'deep'\?; allowed: shallow, deep",
    ),
    "a state twice": (
        lambda: machine().add_state("a").add_state("a"),
        "state machine 'm' has a state 'a' already",
    ),
    "trigger and after": (
        lambda: machine().add_transition("a", "b", "go", after="1s"),
        "'a -> b' has both trigger and after; add a transition for each",
    ),
    "neither target nor trigger": (
        lambda: machine().add_transition("a"),
        r"'a \(stays\)' has neither a target nor a trigger",
    ),
    "a guard that takes too much": (
        lambda: machine().add_transition("a", "b", guard=lambda x, y: x + y),
        r"guard of 'a -> b' takes 2 arguments; it may take none, or one",
    ),
    "a guard that was called": (
        lambda: machine().add_transition("a", "b", guard=no()),
        "guard of 'a -> b' cannot be called: it is False",
    ),
    "internal to where it is not": (
        lambda: machine().add_transition("a", "b", "go", internal=True).chart(),
        "is internal, but does not lead from a compound state to a state inside it",
    ),
    "two targets in one region": (
        lambda: machine(("a", ["b", "c"], "go")).chart(),
        "leads to 'b' and 'c' at once, which are not in different regions of a parallel state",
    ),
    "a parallel state without regions": (
        lambda: machine().add_state("a", parallel=True).chart(),
        "the parallel state 'a' of state machine 'm' has no regions",
    ),
    "a final state with children": (
        lambda: machine().add_state("a", final=True).add_state("b", parent="a").chart(),
        "the final state 'a' of state machine 'm' has a child, 'b'",
    ),
    "an initial state that is elsewhere": (
        lambda: machine().add_state("a", initial="b").add_state("c", parent="a").add_state("b").chart(),
        "initial of state 'a' is 'b', which is not inside it",
    ),
    "an unknown option": (
        lambda: StateMachine("a", unhandled="rase"),
        r"unhandled='rase' is unknown; did you mean 'raise'\?; allowed: ignore, raise",
    ),
    "a key without a journal": (
        lambda: machine(("a", "b")).session(key="order-1"),
        "state machine 'm' has no journal, so key='order-1' names nothing in it",
    ),
    "a name that is none": (lambda: StateMachine("a", name=""), "the name of a state machine must be a text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_refused(case):
    """A wrong machine is refused when it is built, with the part that is wrong and what would be right."""
    make, message = WRONG[case]
    with pytest.raises(DesignError, match=message):
        make()


def test_a_machine_is_not_rebuilt_while_it_runs():
    """Once its own session has begun, the machine takes no further parts."""
    made = machine(("a", "b", "go"))
    made.trigger("go")
    with pytest.raises(DesignError, match="state machine 'm' has been started"):
        made.add_state("c")


def test_an_event_has_a_name():
    """What is no text is no event."""
    with pytest.raises(DesignError, match="an event is named by a text, not 3"):
        machine(("a", "b")).trigger(3)


def kinds(made):
    return [(problem.kind, *problem.parts) for problem in made.check()]


def test_a_sound_machine_has_no_problems():
    """Guards before the unguarded, a way out of every state that is not final: nothing to say."""
    made = machine(("a", "b", "go"), ("b", "a", "back")).add_state("end", final=True)
    made.add_transition("b", "end", "stop", guard=no)
    made.add_transition("b", "a", "stop")
    assert made.check() == ()


def test_unreachable():
    """A state that nothing leads to is found, once for all that is inside it."""
    made = machine(("a", "b", "go"), ("b", "a", "go")).add_state("a").add_state("b")
    made.add_state("island").add_state("hut", parent="island").add_transition("hut", "a", "swim")
    assert kinds(made) == [("unreachable", "island")]


def test_reachable_by_history_region_and_wildcard():
    """Children that begin, regions, remembered states and wildcard targets can be reached."""
    made = machine(("*", "p", "all")).add_state("a").add_state("p", parallel=True)
    made.add_state("x", parent="p").add_state("x1", parent="x").add_state("h", parent="x", history="deep")
    made.add_state("y", parent="p").add_state("y1", parent="y")
    made.add_transition("a", "h", "back").add_transition("*", "a", "home")
    assert kinds(made) == []


def test_dead_end():
    """A state that is not final and that nothing leaves; a wildcard or a parent may lead out."""
    made = machine(("a", "b", "go"), ("b", "c", "go"))
    assert kinds(made) == [("dead end", "c")]
    made.add_transition("*", "a", "home")
    assert kinds(made) == []


def test_ambiguous():
    """Two transitions on one event without a guard: the first always wins."""
    made = machine(("a", "b", "go"), ("a", "c", "go"), ("b", "a", "x"), ("c", "a", "x"))
    assert kinds(made) == [("ambiguous", "a -> b on go", "a -> c on go")]
    assert "both without a guard, so the first is always taken" in str(made.check()[0])


def test_shadowed_by_an_earlier_one():
    """A guard that comes after an unguarded transition on the same event, or on all, is never asked."""
    made = machine(("a", "b", "*"), ("b", "a", "x"))
    made.add_transition("a", "b", "go", guard=no)
    assert kinds(made) == [("shadowed", "a -> b on go", "a -> b on *")]


def test_shadowed_by_descendants():
    """What every state inside answers by itself never reaches the state around them."""
    made = StateMachine("A", name="m").add_state("A")
    for child, other in (("x", "y"), ("y", "x")):
        made.add_state(child, parent="A").add_transition(child, other, "go")
    made.add_state("B").add_transition("A", "B", "go").add_transition("A", "B", "leave")
    made.add_transition("B", "A", "back")
    assert kinds(made) == [("shadowed", "A -> B on go", "x -> y on go", "y -> x on go")]


def test_endless():
    """Eventless transitions that nothing stops are named by their circle."""
    made = machine(("c", "a", "go"))
    for source, target in (("a", "b"), ("b", "c"), ("c", "a")):
        made.add_transition(source, target, always=True)
    assert ("endless", "a", "b", "c", "a") in kinds(made)


def test_the_seed_machines_are_checked():
    """The pipeline's last states have no way on: as long as they are not final, check says so."""
    made = machine(("pending", "building"), ("building", "production"), initial="pending")
    made.add_transition("*", "rollback", action=lambda: None)
    assert kinds(made) == [("dead end", "rollback")]


def test_a_drawing():
    """``to_mermaid`` draws nesting, regions, history, hooks, guards and actions."""
    made = StateMachine("a", name="m").add_state("a", on_entry=print).add_state("p", parallel=True)
    made.add_state("left", parent="p").add_state("right side", parent="p", final=False)
    made.add_state("end", final=True)
    made.add_transition("a", "p", "go", guard=no, action=print)
    made.add_transition("p", "end", after="5m").add_transition("p", None, "ping", action=print)
    assert made.to_mermaid() == (
        "stateDiagram-v2\n"
        "    [*] --> a\n"
        '    state "a" as a\n'
        "    a : entry / print\n"
        "    state p {\n"
        "        left\n"
        "        --\n"
        '        state "right side" as s3\n'
        "    }\n"
        "    s4\n"
        "    s4 --> [*]\n"
        "    a --> p : go [no] / print\n"
        "    p --> s4 : after 5m\n"
        "    p --> p : ping / print (stays)\n"
    ).replace("    s4\n", '    state "end" as s4\n')


def test_a_drawing_shows_every_name():
    """What Mermaid takes for its own, for markup or for an end, gets a number; a state with hooks keeps its name.

    Mermaid shows the first line told of a state in place of its name, and refuses lines told of a group.
    """
    made = StateMachine("click", name="m").add_state("click").add_state("s0", on_entry=print)
    made.add_state("group", on_entry=print, on_exit=no).add_state("<b>", parent="group", on_exit=no)
    made.add_transition("click", "s0", 'a: "b"; #1 *x* _y_ roll_back').add_transition("s0", "group", "go")
    assert made.to_mermaid() == (
        "stateDiagram-v2\n"
        "    [*] --> s0_\n"
        '    state "click" as s0_\n'
        '    state "s0" as s0\n'
        "    s0 : entry / print\n"
        '    state "group (entry / print, exit / no)" as group {\n'
        "        [*] --> s3\n"
        '        state "#60;b>" as s3\n'
        "        s3 : exit / no\n"
        "    }\n"
        "    s0_ --> s0 : a#58; #34;b#34;#59; #35;1 #42;x#42; #95;y#95; roll_back\n"
        "    s0 --> group : go\n"
    )


def test_a_machine_can_be_read():
    """States, transitions and the names that faults can select are there to be listed."""
    made = machine(("a", "b", "go"))
    made.add_transition("b", "a", "back", action=no)
    assert [one.id for one in made.transitions] == ["a -> b on go", "b -> a on back"]
    assert made.steps == ("no", "a", "b")
    assert repr(made) == "<StateMachine 'm': a, b>"
    assert simulate(made, None, "go").result() == "b"
