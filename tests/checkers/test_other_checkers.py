"""Checkers of DAGs, effects and completion."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from wfsim.checkers import completed, dependencies_respected, effect_at_most_once, no_cycle
from wfsim.checkers._dag import find_cycle
from wfsim.history import Recorder


def dag(edges, *events, end="ok"):
    """A DAG run: "+a" begins task a, "-a" ends it, "!a" fails it."""
    recorder = Recorder(lambda: 0)
    whole = recorder.invoke("dag", "build", "build", "main", data={"tasks": edges})
    running = {}
    for event in events:
        name = event[1:]
        if event[0] == "+":
            running[name] = recorder.invoke("task", "build", name, "main", 1, whole)
        else:
            recorder.complete("ok" if event[0] == "-" else "fail", running[name])
    if end:
        recorder.complete(end, whole)
    return recorder.history()


EDGES = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def test_dependencies_respected_is_silent():
    """Each task began after all it depends on had succeeded."""
    history = dag(EDGES, "+a", "-a", "+c", "+b", "-b", "-c", "+d", "-d")
    assert dependencies_respected(history).valid is True


def test_task_that_started_early_is_found():
    """A task that began while another it depends on was running."""
    verdict = dependencies_respected(dag(EDGES, "+a", "-a", "+b", "+c", "-b", "+d", "-c", "-d"))
    assert verdict.valid is False
    assert verdict.message == "dag build: 'd' started before 'c', which it depends on, had succeeded"


def test_task_that_started_in_spite_of_a_failure_is_found():
    """A task that began although another it depends on failed, or never ran at all."""
    verdict = dependencies_respected(dag(EDGES, "+a", "-a", "+b", "+c", "!b", "-c", "+d", "-d"))
    assert verdict.message == "dag build: 'd' started although 'b', which it depends on, failed"
    verdict = dependencies_respected(dag(EDGES, "+b", "-b"))
    assert verdict.message == "dag build: 'b' started although 'a', which it depends on, never ran"


def test_dag_without_dependencies_is_unknown():
    """Where nothing depends on anything nothing was put to the test."""
    assert dependencies_respected(dag({"a": []}, "+a", "-a")).valid == "unknown"
    assert dependencies_respected(Recorder(lambda: 0).history()).valid == "unknown"


def test_no_cycle_names_the_path():
    """A cycle is told by its own path."""
    assert no_cycle(dag(EDGES)).valid is True
    verdict = no_cycle(dag({"x": ["a"], "a": ["b"], "b": ["c"], "c": ["a"]}))
    assert verdict.valid is False
    assert verdict.message == "dag build: a -> b -> c -> a is a cycle"
    assert no_cycle(Recorder(lambda: 0).history()).valid == "unknown"


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=4), max_size=6)
)
def test_cycles_are_those_that_networkx_finds(edges):
    """The checker's own search agrees with a graph library's, and its path is a path."""
    graph = nx.DiGraph([(name, other) for name, others in edges.items() for other in others])
    cycle = find_cycle(edges)
    assert bool(cycle) is not nx.is_directed_acyclic_graph(graph)
    assert all(graph.has_edge(a, b) for a, b in pairwise(cycle))
    assert not cycle or cycle[0] == cycle[-1]


def test_search_for_cycles_takes_each_task_once():
    """A graph with very many paths is searched in no time."""
    layers = 60
    edges = {
        f"{n}{side}": [f"{n + 1}a", f"{n + 1}b"] if n < layers else []
        for n in range(layers + 1)
        for side in "ab"
    }
    assert find_cycle(edges) == ()


# -- effects --


def effects(*said, parent=None):
    recorder = Recorder(lambda: 0)
    for name, key in said:
        recorder.event("effect", "", name, "main", parent=parent, data={"key": key})
    return recorder.history()


def test_double_effect_is_found():
    """The same effect of the same key twice is a double charge."""
    verdict = effect_at_most_once(effects(("charge", 7), ("mail", 7), ("charge", 7)))
    assert verdict.valid is False
    assert verdict.message == "effect 'charge' of 7 happened twice"
    assert verdict.ops == (0, 2)


def test_effects_of_other_keys_and_names_are_others():
    """Two orders may each be charged."""
    history = effects(("charge", 7), ("charge", 8), ("charge", "7"), ("mail", 7))
    assert effect_at_most_once(history).valid is True
    assert effect_at_most_once(history, name="charge").valid is True
    assert effect_at_most_once(history, name="ship").valid == "unknown"


def test_effects_without_a_key_count_for_each_run():
    """Without a key an effect belongs to the run of the design that made it."""
    recorder = Recorder(lambda: 0)
    for times in (1, 1, 2):
        saga = recorder.invoke("saga", "checkout", "checkout", "main")
        step = recorder.invoke("forward", "checkout", "charge", "main", 1, saga)
        for _ in range(times):
            recorder.event("effect", "", "charge", "main", parent=step, data={"key": None})
    verdict = effect_at_most_once(recorder.history())
    assert verdict.valid is False
    assert len(verdict.ops) == 2
    assert effect_at_most_once(effects(("charge", None))).valid is True


def test_double_effect_after_a_lost_reply_says_so():
    """The verdict names the lost reply that led to the second effect."""
    recorder = Recorder(lambda: 0)
    step = recorder.invoke("forward", "checkout", "charge", "main", 1)
    recorder.event("effect", "", "charge", "main", parent=step, data={"key": 1})
    recorder.complete("info", step, data={"error": "wfsim.errors.ReplyLost", "effect": "happened"})
    recorder.event("effect", "", "charge", "main", data={"key": 1})
    verdict = effect_at_most_once(recorder.history())
    assert (
        verdict.message
        == "effect 'charge' of 1 happened twice; the reply of 'charge' was lost after the first"
    )


# -- completion --


def test_completed_means_ended():
    """A run that returned or raised has ended; one that hangs has not, and its open step is named."""
    assert completed(dag(EDGES, "+a", "!a", end="fail")).valid is True
    verdict = completed(dag(EDGES, "+a", "-a", "+b", end=None))
    assert verdict.valid is False
    assert verdict.message == "dag build never ended; it hangs in 'b'"
    assert completed(Recorder(lambda: 0).history()).valid == "unknown"


def test_completed_ok_means_succeeded():
    """With outcome="ok" a failure is not enough."""
    assert completed(dag(EDGES, "+a", "-a"), outcome="ok").valid is True
    assert completed(dag(EDGES, "+a", "!a", end="fail"), outcome="ok").valid is False
    assert completed(dag(EDGES, end="fail"), outcome="ok", design="other").valid == "unknown"
