"""Laws of events: what holds under every finite set of faults, and for every sequence of appends."""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wfsim import (
    Choreography,
    Event,
    EventBus,
    EventStore,
    Service,
    checkers,
    crash,
    delay,
    duplicate,
    effect,
    fail,
    lose_event,
    partition,
    reorder,
    simulate,
    sleep,
)
from wfsim.errors import ConcurrencyError
from wfsim.kernel import exponential

FEW = settings(max_examples=60, deadline=None)
KEYS = ("a", "b", "c")

counts = st.integers(1, 3)
moments = st.floats(0, 20).map(lambda seconds: round(seconds, 3))
subscribers = st.sampled_from(["first", "second", None])
kept_whole = st.one_of(  # faults that leave the events themselves, and their handlers, whole
    st.builds(lambda to, n: lose_event(to=to, count=n), subscribers, counts),
    st.builds(lambda to, n: lose_event(to=to, point="ack", count=n), subscribers, counts),
    st.builds(lambda to, n, m: duplicate(to=to, count=n, copies=m), subscribers, counts, counts),
    st.builds(lambda to, n, m: reorder(to=to, count=n, behind=m), subscribers, counts, counts),
    st.builds(lambda by, n: delay(point="deliver", by=by, count=n), moments, counts),
    st.builds(lambda by, n: delay(on="handle", by=by, count=n), moments, counts),
    st.builds(lambda n: fail(on="handle", count=n), counts),
    st.builds(lambda n: fail(point="deliver", count=n), counts),
    st.builds(
        lambda name, at, n: partition(name, after=at, before=at + n),
        st.sampled_from(["first", "second"]),
        moments,
        counts,
    ),
    st.builds(lambda n, after: crash(point="ack", count=n, after=after), counts, moments),
    st.builds(lambda n, after: crash(point="deliver", count=n, after=after), counts, moments),
    st.builds(lambda n, after: crash(point="call", on="handle", count=n, after=after), counts, moments),
)
torn = st.builds(lambda n, after: crash(point="reply", on="handle", count=n, after=after), counts, moments)
schedules = st.lists(kept_whole, max_size=5)
any_schedules = st.lists(st.one_of(kept_whole, torn), max_size=5)
seeds = st.integers(0, 1000)


def two_services(faults, seed, **terms):
    """Twelve events of three keys, to two services that may crash and start again."""

    async def handle(event):
        await sleep(0.2)
        effect("handled", event.id)

    bus = EventBus(latency=exponential("50ms"), visibility_timeout="5s", max_deliveries=None, **terms)
    flow = Choreography(
        "two",
        Service("first", restart_after="3s").on("#", handle),
        Service("second", restart_after="1s").on("#", handle),
        bus=bus,
    )

    async def main():
        events = [Event("tick", number, key=KEYS[number % 3]) for number in range(12)]
        await flow.run(*events)

    run = simulate(main, faults=faults, seed=seed, max_time="1h")
    assert run.ok, run.error
    return run


@FEW
@given(any_schedules, seeds)
def test_at_least_once_everything_is_handled(faults, seed):
    """Whatever finite faults strike, each service handles each event at least once."""
    run = two_services(faults, seed)
    verdict = checkers.no_event_lost(run.history)
    assert verdict, verdict.message
    assert verdict.message == "24 expected handlings: none is missing"


@FEW
@given(schedules, seeds)
def test_effectively_once_every_effect_is_there_once(faults, seed):
    """Each event has its effect at each service exactly once, if no crash tears a handler itself apart."""
    run = two_services(faults, seed, delivery="effectively_once")
    for verdict in run.check(checkers.no_event_lost, checkers.no_effect_twice, checkers.handled_once):
        assert verdict, verdict.message
    assert len(run.history.where(kind="effect")) == 24


@FEW
@given(any_schedules, seeds, st.integers(1, 4))
def test_order_per_key_holds(faults, seed, concurrency):
    """With one in flight for each key, each key's events are first handled in order, whatever strikes."""
    run = two_services(faults, seed, order="key", concurrency=concurrency)
    for verdict in run.check(checkers.no_event_lost, checkers.order_per_key):
        assert verdict, verdict.message


@FEW
@given(st.lists(st.integers(0, 3).map(lambda n: n / 2), min_size=1, max_size=15), st.integers(1, 4), seeds)
def test_a_blocking_queue_loses_nothing_and_never_overflows(pauses, capacity, seed):
    """However fast the publisher and slow the subscriber: nothing is lost, and no more wait than may."""

    async def main():
        bus = EventBus()
        published, started = [], []
        most = 0

        async def slow(event):
            started.append(event.payload)
            await sleep(1)

        bus.subscribe("a", slow, capacity=capacity)
        for number, pause in enumerate(pauses):
            await bus.publish(Event("a", number))
            published.append(number)
            most = max(most, len(published) - len(started))
            await sleep(pause)
        await bus.drain()
        return started, most

    started, most = simulate(main, seed=seed).value
    assert started == list(range(len(pauses)))
    assert most <= capacity


# -- the store against a plain list

streams = st.sampled_from(["x", "y"])
steps = st.tuples(streams, st.integers(1, 3), st.none() | st.integers(0, 6))


@given(st.lists(steps, max_size=25), st.integers(0, 10), st.integers(1, 6))
def test_the_store_is_a_list_with_versions(appends, position, version):
    """Appends, refusals, versions, positions and reads are those of lists that one could write down by hand."""
    store, everything, by_stream = EventStore(), [], {"x": [], "y": []}

    async def main():
        for number, (stream, count, expected) in enumerate(appends):
            events = [Event("e", (number, one)) for one in range(count)]
            if expected is not None and expected != len(by_stream[stream]):
                with pytest.raises(ConcurrencyError) as refused:
                    await store.append(stream, events, expected_version=expected)
                assert refused.value.actual == len(by_stream[stream])
                continue
            await store.append(stream, events, expected_version=expected)
            everything.extend((stream, event.payload) for event in events)
            by_stream[stream].extend(event.payload for event in events)

    asyncio.run(main())
    assert [(one.stream, one.payload) for one in store.read_all(from_position=position)] == everything[
        position:
    ]
    assert [one.position for one in store.read_all()] == list(range(len(everything)))
    for stream, payloads in by_stream.items():
        assert store.version(stream) == len(payloads)
        assert [one.payload for one in store.read(stream, from_version=version)] == payloads[version - 1 :]
        assert [one.version for one in store.read(stream)] == list(range(1, len(payloads) + 1))
        folded, at = store.load(stream, lambda state, event: (*state, event.payload), ())
        assert (list(folded), at) == (payloads, len(payloads))


# -- topics against a regular expression

segments = st.sampled_from(["a", "b", "c"])
topics = st.lists(segments, min_size=1, max_size=5).map(".".join)
patterns = st.lists(st.sampled_from(["a", "b", "*", "#", "**"]), min_size=1, max_size=5).map(".".join)


def expression(pattern):
    """Write a pattern as a regular expression over segments that each end with a dot."""
    parts = {"*": r"[^.]+\.", "#": r"(?:[^.]+\.)*", "**": r"(?:[^.]+\.)*"}
    return "".join(parts.get(segment, re.escape(segment) + r"\.") for segment in pattern.split("."))


@settings(max_examples=300)
@given(st.lists(patterns, min_size=1, max_size=6), st.lists(topics, min_size=1, max_size=4))
def test_patterns_fit_as_a_regular_expression_would(some_patterns, some_topics):
    """The trie agrees with a regular expression for each pattern, and each subscriber is called once, in order."""
    heard = []
    bus = EventBus()
    for number, pattern in enumerate(some_patterns):
        bus.subscribe(pattern, lambda event, number=number: heard.append((number, event.topic)))
    for topic in some_topics:
        bus.publish(Event(topic))
    expected = [
        (number, topic)
        for topic in some_topics
        for number, pattern in enumerate(some_patterns)
        if re.fullmatch(expression(pattern), topic + ".")
    ]
    assert heard == expected


@settings(max_examples=300)
@given(patterns, topics)
def test_checkers_read_patterns_as_the_bus_does(pattern, topic):
    """The rooms know nothing of each other, so each has its own reading; they agree."""
    from wfsim.checkers._events import topic_fits

    assert topic_fits(pattern, topic) == bool(re.fullmatch(expression(pattern), topic + "."))
