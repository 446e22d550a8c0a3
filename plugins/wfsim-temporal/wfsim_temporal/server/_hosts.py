"""The servers of one simulation: each at an address of its own, with its namespaces and what these share."""

from __future__ import annotations

import asyncio
import uuid
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.namespace.v1 import NamespaceConfig, NamespaceInfo
from temporalio.service import RPCStatusCode

from wfsim.kernel import VirtualLoop, current
from wfsim.units import NS_PER_SECOND
from wfsim_temporal.core import note_open_workflows
from wfsim_temporal.errors import NotSimulated
from wfsim_temporal.server._server import NS_PER_MILLISECOND, Server, Settings
from wfsim_temporal.wire import rpc_error

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from wfsim.kernel import Simulation
    from wfsim_temporal.nexus import AnyNexusOperation
    from wfsim_temporal.worker import Worker

DEFAULT: Final = "default"
_REGISTERED: Final = 1  # NamespaceState
_RETENTION_S: Final = 24 * 3600
_THIS_MACHINE: Final = {"localhost", "127.0.0.1", "0.0.0.0", "[::1]", "[::]"}  # noqa: S104 - nothing is bound
_FIRST_PORT: Final = 40001
_ATTRIBUTE: Final = "temporal_hosts"
_UUID_MARKS: Final = 0xF << 76 | 0x3 << 62  # where a UUID has its version and its variant
_UUID_7: Final = 0x7 << 76 | 0x2 << 62


class Namespace:
    """What is registered of a namespace."""

    def __init__(self, name: str, retention_s: int = _RETENTION_S) -> None:
        self.info = NamespaceInfo(name=name, state=_REGISTERED)  # type: ignore[arg-type]
        self.config = NamespaceConfig()
        self.config.workflow_execution_retention_ttl.FromSeconds(retention_s)


class Host:
    """One server. ``servers`` are its namespaces by their names, as far as anybody has used them.

    One that the simulated program has started itself has the namespaces that it asked for. Of another one nobody
    here knows what its operator has registered: it has each namespace that somebody uses (``is_open``). So have test
    servers.
    """

    def __init__(
        self,
        hosts: Hosts,
        settings: Settings,
        address: str,
        namespaces: Sequence[str] = (),
        *,
        is_open: bool = True,
    ) -> None:
        self.hosts = hosts
        self.settings = settings
        self.address = address
        self.limits = settings.limits
        self.servers: dict[str, Server] = {}
        self.nexus_endpoints: dict[str, Any] = {}
        self.nexus_operations: dict[str, AnyNexusOperation] = {}
        self.namespaces = {name: Namespace(name) for name in dict.fromkeys((DEFAULT, *namespaces))}
        self._is_open = is_open
        self._deleted: list[str] = []

    def server(self, namespace: str) -> Server:
        """Give a namespace, as clients and workers see the server through it."""
        found = self.servers.get(namespace)
        if found is None:
            found = self.servers[namespace] = Server(self, namespace)
            self.hosts.servers.append(found)
        return found

    def has(self, namespace: str) -> bool:
        """Whether a namespace can be used."""
        return namespace in self.namespaces or (
            self._is_open and bool(namespace) and namespace not in self._deleted
        )

    def used(self, namespace: str) -> Server:
        """Give a namespace that somebody uses. Raises RPCError NOT_FOUND if there is no such."""
        if not self.has(namespace):
            raise no_namespace(namespace)
        if namespace not in self.namespaces:
            self.namespaces[namespace] = Namespace(namespace)
        return self.server(namespace)

    def register(self, made: Namespace) -> None:
        """Add a namespace."""
        self.namespaces[made.info.name] = made

    def delete(self, namespace: str) -> None:
        """Delete a namespace with all that is in it: nobody finds it any more."""
        del self.namespaces[namespace]
        self._deleted.append(namespace)
        server = self.servers.pop(namespace, None)
        for execution in [] if server is None else list(server.executions.values()):
            execution.server.delete(execution)

    def nexus_endpoint(self, name: str) -> Any:
        """Give the Nexus endpoint of a name; None if there is none. All namespaces have the same."""
        return next((one for one in self.nexus_endpoints.values() if one.spec.name == name), None)


def no_namespace(name: str) -> Exception:
    """Give what the server says of a namespace that it does not have."""
    if not name:
        return rpc_error(RPCStatusCode.INVALID_ARGUMENT, "Namespace is empty.")
    told = NamespaceNotFoundFailure(namespace=name)
    return rpc_error(RPCStatusCode.NOT_FOUND, f"Namespace {name} is not found.", told)


class Hosts:
    """All servers of a simulation. ``servers`` are all their namespaces, in the order in which they came up.

    The server of the simulation itself, which ``simulate`` makes workers for, is at no address until somebody connects:
    it is the first one that is connected to.
    """

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.servers: list[Server] = []
        self.workers: list[Worker] = []
        simulation.witnesses.append(partial(note_open_workflows, self.servers))
        self.heartbeats: list[tuple[str, int]] = []  # of which activity, and of which attempt
        self.main_ended_ns: int | None = None
        # Timers of servers belong to nobody's process, so that no crash takes them away.
        self.context = copy_context()
        self.epoch_ns = (
            int(simulation.start.timestamp()) * NS_PER_SECOND + simulation.start.microsecond * 1000
        )
        self._ids = simulation.stream("temporal/ids")
        self._by_address: dict[str, Host] = {}
        self._home: Host | None = None
        self._home_is_found = False
        self._ports = _FIRST_PORT

    def home(self, settings: Settings) -> Host:
        """Give the server of the simulation itself."""
        if self._home is None:
            self._home = Host(self, settings, "simulated.invalid:7233", (settings.namespace,))
        return self._home

    def at(self, address: str, settings: Settings) -> Host:
        """Give the server at an address; there is one at each."""
        known = _canonical(address)
        if self._home is not None and known == self._home.address:
            return self._home
        found = self._by_address.get(known)
        if found is None and self._home is not None and not self._home_is_found:
            self._home_is_found = True
            found = self._home
        if found is None:
            found = Host(self, settings, known, (settings.namespace,))
        self._by_address[known] = found
        return found

    def start(
        self, settings: Settings, namespace: str, ip: str, port: int | None, *, is_open: bool = False
    ) -> Host:
        """Start a server as a program does. Raises RuntimeError if one runs at that port already."""
        if port is None:
            port, self._ports = self._ports, self._ports + 1
        address = f"{ip}:{port}"
        if _canonical(address) in self._by_address:
            raise RuntimeError(f"Failed starting the server: a simulated one runs at {address} already")
        made = Host(self, settings, address, (namespace,), is_open=is_open)
        self._by_address[_canonical(address)] = made
        return made

    def stop(self, host: Host) -> None:
        """Give the address of a server free; those who are connected keep it."""
        self._by_address = {address: one for address, one in self._by_address.items() if one is not host}

    def new_id(self) -> str:
        """Draw an identifier, such as a run id: of version 7, which tells the milliseconds, as the server's are."""
        milliseconds = (self.epoch_ns + self.simulation.now_ns) // NS_PER_MILLISECOND
        number = milliseconds << 80 | self._ids.randbits(80)
        return str(uuid.UUID(int=number & ~_UUID_MARKS | _UUID_7))

    async def here(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the simulation's main loop, whichever loop it is awaited in.

        A program in a simulated thread has a loop of its own (``asyncio.run``), and no future crosses loops.
        """
        loop = asyncio._get_running_loop()
        if loop is self.simulation.loop:
            return await work
        if not isinstance(loop, VirtualLoop):
            work.close()
            raise NotSimulated(
                f"an event loop of another kind ({type(loop).__qualname__}) waits in real time and is not simulated. "
                "Let asyncio.run, asyncio.Runner or asyncio.new_event_loop make the loop: they make a virtual one."
            )
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.simulation.loop))


def hosts_here() -> Hosts:
    """Give the servers of the simulation that runs this code.

    Raises RuntimeError outside of a simulation.
    """
    simulation = current()
    if simulation is None:
        raise RuntimeError(
            "a simulated Temporal server lives in a simulation only: connect to it in code that simulate() runs"
        )
    known = vars(simulation)  # they live as long as it does: a table of our own would keep both for ever
    found: Hosts | None = known.get(_ATTRIBUTE)
    if found is None:
        found = known[_ATTRIBUTE] = Hosts(simulation)
    return found


def _canonical(address: str) -> str:
    """Give an address as all of its spellings have it."""
    host, colon, port = address.strip().lower().rpartition("://")[2].rstrip("/").rpartition(":")
    if not colon:
        host, port = port, "7233"
    return f"{'127.0.0.1' if host in _THIS_MACHINE else host}:{port}"
