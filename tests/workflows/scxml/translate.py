"""SCXML documents as state machines, as far as the two models meet: for tests only.

Expressions are Python (the test suite's ``datamodel="python"``) and see the data, ``_event`` and ``In``.
A document that needs more is refused with ``LeftOut``, which says what it needs.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace

from wfsim.workflows import StateMachine

SYSTEM = re.compile(
    r"_sessionid|_ioprocessors|_event\.(origin|type|sendid|invokeid|raw)|\b_x\b|hasattr|^_(event|name)$"
)


class LeftOut(Exception):
    """The document needs something that a StateMachine is not meant to have."""


def tag(element):
    return element.tag.rpartition("}")[2]


class Payload(dict):
    """What comes with an event: its fields are attributes too."""

    __getattr__ = dict.__getitem__


def literal(text):
    try:
        return eval(text, {})
    except Exception:
        return " ".join(text.split())


def parts(element, *tags):
    return [part for part in element if tag(part) in tags]


def seconds(text):
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    if text.endswith("s"):
        return float(text[:-1])
    raise ValueError(f"{text!r} is no delay")


class Translation:
    """One document on its way to a machine."""

    def __init__(self, document):
        root = ET.fromstring(document)
        for element in root.iter():
            self.look_at(element)
        self.is_python = root.get("datamodel") != "ecmascript"
        self.ids = 0
        self.names = {}
        tops = parts(root, "state", "parallel", "final")
        initial = root.get("initial", "").split() or self.name(tops[0])
        self.machine = StateMachine(
            initial=initial, name=root.get("name") or "scxml", errors="continue", data=self.data(root)
        )
        self.transitions = []
        for top in tops:
            self.state(top, None)
        for source, element in self.transitions:
            self.transition(source, element)

    def look_at(self, element):
        """Refuse a document for what is not meant to be there, before anything runs."""
        kind = tag(element)
        if kind in {"invoke", "finalize", "script"}:
            raise LeftOut(f"<{kind}>")
        if kind == "send" and (element.get("type") or element.get("typeexpr")):
            raise LeftOut("I/O processors")
        target = element.get("targetexpr") or element.get("target", "")
        if kind == "send" and target.startswith(("http", "#_scxml", "'#_scxml", "Var", "_", "#_parent")):
            raise LeftOut("I/O processors")
        for expression in element.attrib.values():
            if SYSTEM.search(expression):
                raise LeftOut("system variables")
            if "Math." in expression:
                raise LeftOut("JavaScript's library")
        if kind == "content" and len(element):
            raise LeftOut("XML content")

    def name(self, element):
        if id(element) not in self.names:
            self.ids += 1
            self.names[id(element)] = element.get("id") or f"anonymous-{self.ids}"
        return self.names[id(element)]

    def data(self, root):
        found = {}
        for datum in (element for element in root.iter() if tag(element) == "data"):
            if datum.get("src") or len(datum):
                raise LeftOut("data from a file or from XML content")
            text = (datum.text or "").strip() or "None"
            try:
                found[datum.get("id")] = eval(datum.get("expr", text), {})
            except Exception as error:
                raise LeftOut("errors while the data model is set up") from error
        if root.get("binding") == "late":
            raise LeftOut("late binding of data")
        return found

    # -- the tree --

    def state(self, element, parent):
        name, kind = self.name(element), tag(element)
        first = parts(element, "initial")
        inner = parts(first[0], "transition")[0] if first else None
        initial = inner.get("target").split() if inner is not None else element.get("initial", "").split()
        self.machine.add_state(
            name,
            parent=parent,
            initial=initial,
            parallel=kind == "parallel",
            final=kind == "final",
            history=element.get("type", "shallow") if kind == "history" else None,
            on_entry=[self.block(one) for one in parts(element, "onentry")],
            on_exit=[self.block(one) for one in parts(element, "onexit")],
            on_initial=[self.block(inner)] if inner is not None and len(inner) else [],
            output=self.donedata(element),
        )
        for child in parts(element, "state", "parallel", "final", "history"):
            self.state(child, name)
        self.transitions += [(name, one) for one in parts(element, "transition")]

    def transition(self, source, element):
        cond = element.get("cond")
        events = element.get("event", "").split()
        is_default = self.is_history(source)
        self.machine.add_transition(
            source,
            element.get("target", "").split(),
            events or None,
            always=not events and not is_default,
            guard=None if cond is None else lambda context: self.value(cond, context),
            action=[self.block(element)] if len(element) else [],
            internal=element.get("type") == "internal" and self.can_be_internal(source, element),
        )

    def is_history(self, name):
        return next(state for state in self.machine.states if state.name == name).history

    def can_be_internal(self, source, element):
        """SCXML treats an internal transition as external where it cannot be internal."""
        parents = {state.name: state.parent for state in self.machine.states}
        targets = element.get("target", "").split()
        return bool(targets) and all(self.is_inside(one, source, parents) for one in targets)

    def is_inside(self, name, source, parents):
        while (name := parents[name]) is not None:
            if name == source:
                return True
        return False

    def donedata(self, element):
        done = parts(element, "donedata")
        if not done:
            return None
        return lambda context: self.payload(done[0], context)

    # -- executable content --

    def block(self, element):
        return lambda context: self.play(list(element), context)

    def play(self, steps, context):
        for step in steps:
            act = getattr(self, f"do_{tag(step)}", None)
            if act is None:
                raise LeftOut(f"<{tag(step)}>")
            act(step, context)

    def do_raise(self, step, context):
        context.raise_event(step.get("event"))

    def do_log(self, step, context):
        if step.get("expr"):
            self.value(step.get("expr"), context)

    def do_assign(self, step, context):
        location = step.get("location")
        if location not in context.data or step.get("expr") is None:
            raise NameError(f"no such location: {location!r}")
        context.data[location] = self.value(step.get("expr"), context)

    def do_cancel(self, step, context):
        context.cancel(step.get("sendid") or self.value(step.get("sendidexpr"), context))

    def do_if(self, step, context):
        branches = [(step.get("cond"), [])]
        for part in step:
            if tag(part) in {"elseif", "else"}:
                branches.append((part.get("cond", "True"), []))
            else:
                branches[-1][1].append(part)
        for cond, steps in branches:
            if self.value(cond, context):
                self.play(steps, context)
                return

    def do_foreach(self, step, context):
        array = self.value(step.get("array"), context)
        if not isinstance(array, list | tuple) or not step.get("item").isidentifier():
            raise TypeError("foreach needs an array and an item")
        for index, item in enumerate(list(array)):
            context.data[step.get("item")] = item
            if step.get("index"):
                context.data[step.get("index")] = index
            self.play(list(step), context)

    def do_send(self, step, context):
        event = step.get("event") or self.value(step.get("eventexpr"), context)
        delay = step.get("delay") or self.either(step, "delayexpr", context) or "0s"
        target = step.get("target") or self.either(step, "targetexpr", context)
        payload = self.payload(step, context)
        if target == "#_internal":
            context.raise_event(event, payload)
            return
        if target:
            raise ValueError(f"there is no target {target!r}")
        name = context.send(event, payload, after=seconds(delay), name=step.get("id"))
        if step.get("idlocation"):
            context.data[step.get("idlocation")] = name

    def either(self, step, attribute, context):
        return self.value(step.get(attribute), context) if step.get(attribute) else None

    def payload(self, step, context):
        names = {name: self.value(name, context) for name in step.get("namelist", "").split()}
        for param in parts(step, "param"):
            names[param.get("name")] = self.value(param.get("expr") or param.get("location"), context)
        for content in parts(step, "content"):
            if content.get("expr"):
                return self.value(content.get("expr"), context)
            if len(content):
                raise LeftOut("XML content")
            return literal((content.text or "").strip())
        return Payload(names) if names else None

    # -- expressions --

    def value(self, expression, context):
        event = SimpleNamespace(name=context.event, data=context.payload)
        known = {
            **context.data,
            "In": context.in_state,
            "_event": event,
            "_name": self.machine.name,
            "true": True,
            "false": False,
        }
        return eval(self.python(expression), {}, known)

    def python(self, expression):
        """Write an expression in Python: the two languages spell the simple ones nearly alike."""
        if self.is_python:
            return expression.strip()
        for javascript, python in (("===", "=="), ("!==", "!="), ("&&", " and "), ("||", " or ")):
            expression = expression.replace(javascript, python)
        return re.sub(r"!(?!=)", " not ", expression).strip()


def translate(document):
    """Make the machine that an SCXML document describes."""
    return Translation(document).machine
