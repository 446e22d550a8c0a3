"""Random machines behave as the algorithm of the W3C's recommendation says (SCXML 1.0, appendix D).

``Reference`` is that algorithm, written down from the recommendation alone, on plain dictionaries and as slow
as it likes. Both write down each exit, action and entry; the lists and the active states must be the same
after every event.
"""

from __future__ import annotations

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from wfsim import StateMachine, simulate
from wfsim.errors import DesignError

EVENTS = ("e0", "e1", "e2")


class Reference:
    """SCXML's algorithm. A document is a dict of states, in document order, and a list of transitions."""

    def __init__(self, states, transitions):
        self.states = states
        self.order = {name: place for place, name in enumerate(states)}
        self.transitions = transitions
        self.configuration = set()
        self.history_value = {}
        self.internal = []
        self.running = True
        self.log = []

    # -- the tree --

    def parent(self, name):
        return self.states[name]["parent"] if name else None

    def children(self, name):
        return [one for one, state in self.states.items() if state["parent"] == name and not state["history"]]

    def kind(self, name):
        if name is None:
            return "compound"
        state = self.states[name]
        if state["history"]:
            return "history"
        if state["final"]:
            return "final"
        if state["parallel"]:
            return "parallel"
        return "compound" if self.children(name) else "atomic"

    def proper_ancestors(self, name, upto=None):
        found = []
        name = self.parent(name)
        while name is not None and name != upto:
            found.append(name)
            name = self.parent(name)
        if upto is None:
            found.append(None)  # the <scxml> element
        return found

    def is_descendant(self, one, other):
        return other in self.proper_ancestors(one)

    def initial(self, name):
        if name is None:
            return [next(iter(self.states))]
        return [self.states[name]["initial"]]

    # -- running --

    def start(self):
        self.enter([{"source": None, "targets": self.initial(None), "internal": False, "action": None}])
        self.macrostep()

    def send(self, name):
        if not self.running:
            return
        self.microstep(self.select(name))
        self.macrostep()

    def macrostep(self):
        while self.running:
            enabled = self.select(None)
            if not enabled:
                if not self.internal:
                    break
                enabled = self.select(self.internal.pop(0))
            if enabled:
                self.microstep(enabled)

    def microstep(self, enabled):
        self.exit(enabled)
        for transition in enabled:
            self.do(transition)
        self.enter(enabled)

    def do(self, transition):
        if transition["action"] is not None:
            self.log.append(f"do {transition['action']}")
        if transition.get("raises"):
            self.internal.append(transition["raises"])

    def select(self, name):
        enabled = []
        atomic = [one for one in self.configuration if self.kind(one) in {"atomic", "final"}]
        for state in sorted(atomic, key=self.order.get):
            for source in [state, *self.proper_ancestors(state)]:
                found = [
                    one for one in self.transitions if one["source"] == source and self.matches(one, name)
                ]
                if found:
                    if found[0] not in enabled:
                        enabled.append(found[0])
                    break
        return self.remove_conflicting(enabled)

    def matches(self, transition, name):
        if transition["event"] != name:
            return False
        return transition["in_state"] is None or transition["in_state"] in self.configuration

    def remove_conflicting(self, enabled):
        filtered = []
        for one in enabled:
            preempted, remove = False, []
            for other in filtered:
                if self.exit_set([one]) & self.exit_set([other]):
                    if self.is_descendant(one["source"], other["source"]):
                        remove.append(other)
                    else:
                        preempted = True
                        break
            if not preempted:
                filtered = [other for other in filtered if other not in remove]
                filtered.append(one)
        return filtered

    def exit_set(self, transitions):
        found = set()
        for one in transitions:
            if one["targets"]:
                domain = self.domain(one)
                found |= {state for state in self.configuration if self.is_descendant(state, domain)}
        return found

    def exit(self, enabled):
        leaving = sorted(self.exit_set(enabled), key=self.order.get, reverse=True)
        for state in leaving:
            for memory, value in self.states.items():
                if value["history"] and value["parent"] == state:
                    self.history_value[memory] = [
                        one
                        for one in sorted(self.configuration, key=self.order.get)
                        if (
                            self.kind(one) in {"atomic", "final"} and self.is_descendant(one, state)
                            if value["history"] == "deep"
                            else self.parent(one) == state
                        )
                    ]
        for state in leaving:
            self.log.append(f"- {state}")
            self.configuration.discard(state)

    def effective(self, transition):
        found = []
        for target in transition["targets"]:
            if self.kind(target) != "history":
                found.append(target)
            elif target in self.history_value:
                found += self.history_value[target]
            else:
                found += self.default(target)
        return found

    def default(self, memory):
        return [self.states[memory]["default"]]

    def domain(self, transition):
        targets = self.effective(transition)
        source = transition["source"]
        if (
            transition["internal"]
            and self.kind(source) == "compound"
            and all(self.is_descendant(one, source) for one in targets)
        ):
            return source
        for ancestor in self.proper_ancestors(source) if source is not None else [None]:
            if self.kind(ancestor) == "compound" and all(
                self.is_descendant(one, ancestor) for one in targets
            ):
                return ancestor
        return None

    def enter(self, enabled):
        to_enter = set()
        for one in enabled:
            for target in one["targets"]:
                self.add_descendants(target, to_enter)
            domain = self.domain(one)
            for target in self.effective(one) if one["targets"] else []:
                self.add_ancestors(target, domain, to_enter)
        for state in sorted(to_enter, key=self.order.get):
            self.configuration.add(state)
            self.log.append(f"+ {state}")
            if self.kind(state) == "final":
                parent = self.parent(state)
                if parent is None:
                    self.running = False
                    continue
                self.internal.append(f"done.state.{parent}")
                above = self.parent(parent)
                if above is None or self.kind(above) != "parallel":
                    continue
                if all(self.in_final(child) for child in self.children(above)):
                    self.internal.append(f"done.state.{above}")

    def in_final(self, state):
        if self.kind(state) == "compound":
            return any(
                self.kind(one) == "final" and one in self.configuration for one in self.children(state)
            )
        if self.kind(state) == "parallel":
            return all(self.in_final(one) for one in self.children(state))
        return False

    def add_descendants(self, state, to_enter):
        if self.kind(state) == "history":
            known = self.history_value.get(state, self.default(state))
            for one in known:
                self.add_descendants(one, to_enter)
            for one in known:
                self.add_ancestors(one, self.parent(state), to_enter)
            return
        to_enter.add(state)
        if self.kind(state) == "compound":
            for one in self.initial(state):
                self.add_descendants(one, to_enter)
                self.add_ancestors(one, state, to_enter)
        elif self.kind(state) == "parallel":
            self.add_regions(state, to_enter)

    def add_ancestors(self, state, ancestor, to_enter):
        for one in self.proper_ancestors(state, ancestor):
            if one is None:
                break
            to_enter.add(one)
            if self.kind(one) == "parallel":
                self.add_regions(one, to_enter)

    def add_regions(self, state, to_enter):
        for child in self.children(state):
            if not any(one == child or self.is_descendant(one, child) for one in to_enter):
                self.add_descendants(child, to_enter)


# -- random machines --


@st.composite
def documents(draw):
    """A tree of up to a dozen states, and transitions all over it."""
    states = {}

    def grow(parent, depth, is_region):
        count = draw(st.integers(1 if depth else 2, 3))
        names = []
        for _ in range(count):
            name = f"s{len(states)}"
            states[name] = {"parent": parent, "parallel": False, "final": False, "history": None}
            names.append(name)
            if depth < 3 and len(states) < 12:
                kind = draw(st.sampled_from(["atomic", "atomic", "compound", "parallel"]))
                if kind != "atomic":
                    states[name]["parallel"] = kind == "parallel"
                    grow(name, depth + 1, kind == "parallel")
        if not is_region:
            for name in names[1:]:
                if not any(one["parent"] == name for one in states.values()):
                    states[name]["final"] = draw(st.integers(0, 4)) == 0
        if parent is not None:
            states[parent]["initial"] = names[0]
            if not is_region and draw(st.booleans()):
                memory = f"h{len(states)}"
                kind = draw(st.sampled_from(["shallow", "deep"]))
                default = draw(st.sampled_from(names))
                states[memory] = {"parent": parent, "parallel": False, "final": False, "history": kind}
                states[memory]["default"] = default

    grow(None, 0, False)
    real = [name for name, state in states.items() if not state["history"]]
    sources = [name for name in real if not states[name]["final"]]
    transitions = []
    for place in range(draw(st.integers(1, 12))):
        source = draw(st.sampled_from(sources))
        cue = draw(st.sampled_from([*EVENTS, *EVENTS, None, *(f"done.state.{name}" for name in real)]))
        raises = draw(st.sampled_from([None, None, *EVENTS]))
        guard = draw(st.sampled_from([None, None, *real])) if cue is not None else draw(st.sampled_from(real))
        targets = draw(st.lists(st.sampled_from(list(states)), max_size=1))
        if not targets and cue is None:
            continue
        transitions.append(
            {
                "source": source,
                "targets": targets,
                "event": cue,
                "in_state": guard,
                "internal": draw(st.booleans()),
                "action": f"t{place}",
                "raises": raises,
            }
        )
    return states, transitions


def build(states, transitions, log):
    machine = StateMachine(next(iter(states)), name="random")

    def note(word):
        return lambda: log.append(word)

    for name, state in states.items():
        hooks = {} if state["history"] else {"on_entry": note(f"+ {name}"), "on_exit": note(f"- {name}")}
        machine.add_state(
            name,
            parent=state["parent"],
            initial=state.get("initial") if not state["parallel"] else None,
            parallel=state["parallel"],
            final=state["final"],
            history=state["history"],
            **hooks,
        )
        if state["history"]:
            machine.add_transition(name, state["default"])
    for one in transitions:

        def act(context, one=one):
            log.append(f"do {one['action']}")
            if one["raises"]:
                context.raise_event(one["raises"])

        machine.add_transition(
            one["source"],
            one["targets"],
            one["event"],
            always=one["event"] is None,
            in_state=one["in_state"],
            action=act,
            internal=one["internal"],
        )
    return machine


class Endless(Exception):
    """The reference comes to no rest."""


def expected(states, transitions, events):
    reference = Reference(states, transitions)
    steps = 0
    microstep = reference.microstep

    def counted(enabled):
        nonlocal steps
        steps += 1
        if steps > 200:
            raise Endless
        microstep(enabled)

    reference.microstep = counted
    reference.start()
    seen = [sorted(reference.configuration)]
    for name in events:
        reference.send(name)
        seen.append(sorted(reference.configuration))
    return reference.log, seen, reference.running


async def observed(machine, events):
    session = machine.session()
    await session.start()
    seen = [sorted(session.states)]
    for name in events:
        await session.trigger(name)
        seen.append(sorted(session.states))
    return seen, not session.done


def can_be_internal(states, one):
    """An internal transition that does not lead inside its source is refused; make it external for both."""
    name = one["targets"][0] if one["targets"] else None
    while name is not None:
        name = states[name]["parent"]
        if name == one["source"]:
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(documents(), st.lists(st.sampled_from(EVENTS), min_size=1, max_size=8))
def test_random_machines_follow_the_recommendation(document, events):
    """Exits, actions, entries and active states are those of the reference, event by event."""
    states, transitions = document
    for one in transitions:
        one["internal"] = one["internal"] and can_be_internal(states, one)
    try:
        log, configurations, running = expected(states, transitions, events)
    except Endless:
        assume(False)
    mine = []
    try:
        machine = build(states, transitions, mine)
        seen, still = simulate(observed, machine, events).result()
    except DesignError as error:
        assume("ends up" in str(error))
        raise
    event(f"{len(log) // 10 * 10} steps or more")
    assert seen == configurations
    assert still == running
    exits = len(configurations[-1]) if not running else 0  # a machine that ends leaves what is active
    assert mine[: len(mine) - exits] == log
