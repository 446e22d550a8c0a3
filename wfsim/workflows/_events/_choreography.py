"""A choreography: services that know the events and not each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wfsim.errors import DesignError
from wfsim.kernel import current, fault_point, sleep, spawn, start_process
from wfsim.units import NS_PER_SECOND, Duration, parse_duration
from wfsim.workflows._events._bus import EventBus
from wfsim.workflows._events._gate import Gate
from wfsim.workflows._events._home import home
from wfsim.workflows._events._subscription import Subscription
from wfsim.workflows._events._terms import Terms
from wfsim.workflows._execute import execute
from wfsim.workflows._naming import checked_name, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from wfsim.kernel import Nemesis
    from wfsim.workflows._events._event import Event


class Service:
    """A service: what it does on which events.

    ::

        billing = Service("billing", restart_after="5s").on("order.placed", charge)

    In a simulation it is a process of its own, which a fault can crash; after ``restart_after`` it starts
    again (None: never). It begins to listen ``start_after`` its start. Its members share a group of its
    name, so what comes while it is down waits for it.
    """

    def __init__(
        self, name: str, *, restart_after: Duration | None = None, start_after: Duration = 0
    ) -> None:
        self.name = checked_name(name, "a service")
        restart_ns = (
            None if restart_after is None else parse_duration(restart_after, f"restart_after of {name!r}")
        )
        self.restart_after_s = None if restart_ns is None else restart_ns / NS_PER_SECOND
        self.start_after_s = parse_duration(start_after, f"start_after of {name!r}") / NS_PER_SECOND
        self.listens: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []

    def on(self, topic: str, handler: Callable[..., Any], **terms: Any) -> Self:
        """Call ``handler(event)`` for events of a topic, on terms of delivery as ``EventBus`` has them."""
        Subscription(topic, handler, self.name, self.name, Terms().but(terms))  # refuses what is wrong now
        self.listens.append((topic, handler, terms))
        return self

    def __repr__(self) -> str:
        return f"<Service {self.name!r} on {', '.join(topic for topic, _, _ in self.listens) or 'nothing'}>"


class Choreography:
    """Services around one bus. ``run`` publishes events and waits until all that they led to is done.

    ::

        flow = Choreography("fulfilment", orders, billing, shipping)
        await flow.run(Event("order.placed", {"amount": 20}, key="order-1"))

    Services start with the first ``run``. Their queues are there before them, so nothing is lost on a
    service that starts late.
    """

    def __init__(self, name: str, *services: Service, bus: EventBus | None = None) -> None:
        self.name = checked_name(name, "a choreography")
        self.bus = EventBus(name) if bus is None else bus
        self.services = services
        self._place: object = None
        self._started: list[Gate] = []
        if not services:
            raise DesignError(
                f"choreography {name!r} has no services; add Service('billing').on(topic, handler)"
            )
        names = [service.name for service in services]
        for number, one in enumerate(names):
            if one in names[:number]:
                raise DesignError(
                    f"choreography {name!r} has a service {one!r} already; name this one otherwise"
                )
            if not services[number].listens:
                raise DesignError(f"service {one!r} listens to nothing; add .on(topic, handler)")

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the services' subscriptions: what a fault may select as its step."""
        return tuple(_title(service, topic) for service in self.services for topic, _, _ in service.listens)

    def service(self, name: str) -> Service:
        """Give the service of this name. Raise DesignError if there is none."""
        for service in self.services:
            if service.name == name:
                return service
        hint = did_you_mean(name, [service.name for service in self.services])
        raise DesignError(f"choreography {self.name!r} has no service {name!r}{hint}")

    async def run(self, *events: Event) -> None:
        """Publish the events, one after the other, and wait until the bus is quiet again."""
        self._start()
        for event in events:
            await self.bus.publish(event)
        for gate in self._started:
            await gate
        await self.bus.drain()

    def execute(self, *events: Event, seed: int = 0, nemesis: Nemesis | None = None) -> None:
        """Run in virtual time and wait: the blocking form of ``run``."""
        execute("choreography", self.run, events, seed, nemesis)

    def _start(self) -> None:
        here = home()
        if here is None or here.place is self._place:
            return
        self._place = here.place
        self._started = []
        for service in self.services:
            for topic, _, terms in service.listens:
                self.bus.declare(topic, group=service.name, name=_title(service, topic), **terms)
        for service in self.services:
            gate = Gate()
            self._started.append(gate)
            if current() is None:
                spawn(self._listen(service, gate))
            else:
                start_process(
                    service.name, self._listen, service, gate, restart_after=service.restart_after_s
                )

    async def _listen(self, service: Service, gate: Gate) -> None:
        await fault_point("start", kind="service", design=self.name, name=service.name)
        if service.start_after_s and not gate.is_open:
            await sleep(service.start_after_s)
        for topic, handler, terms in service.listens:
            self.bus.subscribe(topic, handler, name=_title(service, topic), group=service.name, **terms)
        gate.open()
        if current() is not None:
            await Gate()  # a service runs until it crashes; a process that has come to its end cannot

    def __repr__(self) -> str:
        return f"<Choreography {self.name!r}: {', '.join(service.name for service in self.services)}>"


def _title(service: Service, topic: str) -> str:
    return service.name if len(service.listens) == 1 else f"{service.name}: {topic}"
