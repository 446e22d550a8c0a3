"""Tests made from machines, and the coverage that they reach."""

from __future__ import annotations

from datetime import timedelta

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim import StateMachine, simulate
from wfsim.errors import DesignError
from wfsim.workflows import shortest_paths, simple_paths, transition_coverage, transition_tour


def approval():
    def vote(context):
        context.data["votes"] += 1

    machine = StateMachine("draft", name="approval", data={"votes": 0})
    for state in ("approved", "rejected", "expired"):
        machine.add_state(state, final=True)
    machine.add_state("draft").add_state("review")
    machine.add_transition("draft", "review", "submit")
    machine.add_transition("review", None, "vote", action=vote)
    machine.add_transition("review", "approved", always=True, guard=lambda c: c.data["votes"] >= 2)
    machine.add_transition("review", "rejected", "reject")
    machine.add_transition("review", "expired", after="3d")
    return machine


DAYS = timedelta(days=3)


def test_shortest_paths_run_the_guards():
    """Each situation has a shortest way: two votes are needed, and found by voting."""
    ways = {(path.states, path.data["votes"]): path.script for path in shortest_paths(approval())}
    assert ways == {
        (("draft",), 0): (),
        (("review",), 0): ("submit",),
        (("review",), 1): ("submit", "vote"),
        (("rejected",), 0): ("submit", "reject"),
        (("expired",), 0): ("submit", DAYS),
        (("approved",), 2): ("submit", "vote", "vote"),
        (("rejected",), 1): ("submit", "vote", "reject"),
        (("expired",), 1): ("submit", "vote", DAYS),
    }


def test_paths_can_be_played():
    """``run`` with the script of a path ends where the path says."""
    machine = approval()
    for path in shortest_paths(machine):
        if path.states[0] in {"approved", "rejected", "expired"}:
            assert (simulate(machine, None, *path.script).result(),) == path.states


def test_paths_read_well():
    """A path says what happens and where that leads."""
    assert str(shortest_paths(approval())[4]) == "submit, wait 3 days, 0:00:00 => expired"


def test_a_tour_takes_every_transition():
    """A few ways cover all, and playing them shows it."""
    machine = approval()
    tour = transition_tour(machine)
    coverage = transition_coverage(machine, [simulate(machine, None, *path.script).history for path in tour])
    assert coverage.complete, coverage
    assert len(tour) == 3
    assert coverage.ratio == 1


def test_coverage_names_what_is_missing():
    """Usable in an assertion: false, with the list of what no run has seen."""
    machine = approval()
    coverage = transition_coverage(machine, simulate(machine, None, "submit", "reject").history)
    assert not coverage
    assert str(coverage) == (
        "state machine 'approval': 2 of 5 transitions, 3 of 5 states\n"
        "  never taken: review (stays) on vote\n"
        "  never taken: review -> approved always\n"
        "  never taken: review -> expired after 3d\n"
        "  never entered: approved\n"
        "  never entered: expired"
    )


def test_coverage_counts_states_around():
    """To enter a state is to enter those around it; to move inside does not enter them again."""
    machine = StateMachine("a", name="m").add_state("A").add_state("a", parent="A").add_state("b", parent="A")
    machine.add_transition("a", "b", "go").add_transition("b", "a", "go")
    coverage = transition_coverage(machine, simulate(machine, None, "go", "go", "go").history)
    assert coverage.states == {"A": 1, "a": 2, "b": 2}
    assert coverage.transitions == {"a -> b on go": 2, "b -> a on go": 1}


def test_the_history_of_another_version_is_refused():
    """Counting for the wrong machine would be a lie."""
    old = StateMachine("a", name="m").add_transition("a", "b", "go")
    new = StateMachine("a", name="m").add_transition("a", "b", "start")
    with pytest.raises(DesignError, match="'a -> b on go', which state machine 'm' has not"):
        transition_coverage(new, simulate(old, None, "go").history)


def test_simple_paths_come_nowhere_twice():
    """Every way without a loop: over the square from a corner there are two round, and their beginnings."""
    machine = StateMachine("a", name="square")
    for one, other in ("ab", "bd", "ac", "cd", "da"):
        machine.add_transition(one, other, f"to {other}")
    scripts = [path.script for path in simple_paths(machine)]
    assert scripts == [(), ("to b",), ("to b", "to d"), ("to c",), ("to c", "to d")]


def test_what_grows_for_ever_is_stopped():
    """A counter makes a new situation each time; the error says so."""

    def count(context):
        context.data["n"] += 1

    machine = StateMachine("a", name="m", data={"n": 0})
    machine.add_transition("a", None, "go", action=count)
    with pytest.raises(DesignError, match="more than 20 situations, as when a number in its data grows"):
        shortest_paths(machine, limit=20)


def test_a_maker_gives_each_way_a_world_of_its_own():
    """What guards read beside the machine's data is made anew for each way."""

    def make():
        world = {"doors": 0}

        def open_door():
            world["doors"] += 1

        machine = StateMachine("a", name="m")
        machine.add_transition("a", "b", "open", action=open_door)
        machine.add_transition("b", "c", "look", guard=lambda: world["doors"] == 1)
        return machine

    assert [path.states for path in shortest_paths(make)] == [("a",), ("b",), ("c",)]


def test_a_step_that_fails_leads_nowhere():
    """An action that raises keeps the machine where it was; the search goes on with other events."""
    machine = StateMachine("a", name="m")
    machine.add_transition("a", "b", "go", action=lambda: 1 / 0).add_transition("a", "c", "other")
    assert [path.states for path in shortest_paths(machine)] == [("a",), ("c",)]


EDGES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=14, unique=True)


@settings(max_examples=30, deadline=None)
@given(EDGES)
def test_shortest_is_what_networkx_says(edges):
    """On flat machines without guards the lengths are those of the graph, and tours cover what is reachable."""
    machine = StateMachine("0", name="m").add_state("0")
    for place, (one, other) in enumerate(edges):
        machine.add_state(str(one)) if str(one) not in {s.name for s in machine.states} else None
        machine.add_transition(str(one), str(other), f"e{place}")
    graph = nx.DiGraph(edges)
    graph.add_node(0)
    lengths = nx.single_source_shortest_path_length(graph, 0)
    found = {int(path.states[0]): len(path.script) for path in shortest_paths(machine)}
    assert found == dict(lengths)
    taken = {name for path in transition_tour(machine) for name in path.taken}
    reachable = {place for place, (one, _) in enumerate(edges) if one in lengths}
    assert taken == {one.id for place, one in enumerate(machine.transitions) if place in reachable}
