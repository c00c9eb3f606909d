"""Faults of a cluster, how each is repaired, and for how long clients noticed it."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.support.clients.steady_load import Request, SteadyLoad, client_outcome
from tests.support.clients.stream_clients import ClientResponse
from tests.support.cluster.connections import server_of
from tests.support.cluster.system import ClusterSystem
from tests.support.waiting import until

HELD_UP_SECONDS = 1.8
"""Longer than a caller waits for an acceptance, and too short for a server to be given up."""
MANAGER_SECONDS = 2.0
"""How long the manager of a database pair takes to be sure that a server is gone; Patroni's default is up to 30."""
_STEADY_ANSWERS = 30
_STEADY_SECONDS = 60.0

_ON_PATH = ("ingress-", "router-", "provider_worker-")

Step = Callable[[ClusterSystem], None]
Choose = Callable[[ClusterSystem], str | None]
OnName = Callable[[ClusterSystem, str], None]


@dataclass(frozen=True)
class Fault:
    """What breaks, and what an operator or the platform does about it afterwards."""

    name: str
    inject: Step
    repair: Step


def killed(process: str) -> Fault:
    """A process dies, and is started again after clients have been served without it."""

    def repair(system: ClusterSystem) -> None:
        system.processes[process].start()
        system.wait_until_ready(process)

    return Fault(f"kill {process}", lambda system: system.processes[process].kill(), repair)


class OnServer:
    """A fault of one NATS server, which `choose` finds when it begins."""

    def __init__(self, choose: Choose, inject: OnName, repair: OnName) -> None:
        self._choose, self._inject, self._repair = choose, inject, repair
        self._server = ""

    def inject(self, system: ClusterSystem) -> None:
        self._server = until("there is such a server", lambda: self._choose(system))
        self._inject(system, self._server)

    def repair(self, system: ClusterSystem) -> None:
        self._repair(system, self._server)
        system.wait_until_redundant()


def _leader(system: ClusterSystem) -> str | None:
    """The server that leads the stream of attempts."""
    return system.nats.leader_of("ATTEMPTS")


def _busiest(system: ClusterSystem) -> str | None:
    """The server with most connections of processes that a request passes: with six of them it has two or more."""
    on_path = (process for name, process in system.processes.items() if name.startswith(_ON_PATH) and process.running)
    servers = Counter(server_of(process.pid, system.nats.ports) for process in on_path)
    servers.pop(None, None)
    return servers.most_common(1)[0][0] if servers else None


def _on_server(name: str, choose: Choose, inject: OnName, repair: OnName) -> Fault:
    fault = OnServer(choose, inject, repair)
    return Fault(name, fault.inject, fault.repair)


def leader_killed() -> Fault:
    """The server dies that leads the stream of attempts."""
    return _on_server("kill the NATS server that leads ATTEMPTS", _leader, _kill_server, _restart_server)


def server_killed() -> Fault:
    """The server dies to which most of the processes that a request passes are connected."""
    return _on_server("kill the busiest NATS server", _busiest, _kill_server, _restart_server)


def server_frozen() -> Fault:
    """That server stops without a word: its connections stay open."""
    return _on_server(
        "freeze the busiest NATS server",
        _busiest,
        lambda system, server: system.nats.servers[server].pause(),
        lambda system, server: system.nats.servers[server].resume(),
    )


def server_cut_off() -> Fault:
    """The network between that server and the two others fails; its clients stay connected."""
    return _on_server(
        "cut the busiest NATS server off",
        _busiest,
        lambda system, server: system.nats.isolate(server),
        lambda system, server: system.nats.rejoin(server),
    )


def network_held_up() -> Fault:
    """For a moment nothing passes from that server to the two others: what its workers have accepted is not known elsewhere."""

    def hold_up(system: ClusterSystem, server: str) -> None:
        system.nats.hold_up(server)
        time.sleep(HELD_UP_SECONDS)
        system.nats.rejoin(server)

    return _on_server("hold up what the busiest NATS server sends", _busiest, hold_up, lambda _system, _server: None)


def _kill_server(system: ClusterSystem, server: str) -> None:
    system.nats.servers[server].kill()


def _restart_server(system: ClusterSystem, server: str) -> None:
    system.nats.servers[server].restart()


def primary_killed() -> Fault:
    """The primary database dies, and the manager promotes the standby."""

    def inject(system: ClusterSystem) -> None:
        system.postgres.primary.server.kill()
        time.sleep(MANAGER_SECONDS)
        system.postgres.promote()

    return Fault("kill the primary PostgreSQL", inject, lambda system: system.postgres.follow())


def standby_killed() -> Fault:
    """The standby dies, and the manager lets the primary go on alone."""

    def inject(system: ClusterSystem) -> None:
        system.postgres.standby.server.kill()
        time.sleep(MANAGER_SECONDS)
        system.postgres.go_on_alone()

    return Fault("kill the standby PostgreSQL", inject, lambda system: system.postgres.follow())


@dataclass(frozen=True)
class Impact:
    """What clients noticed of a fault."""

    event: str
    failures: tuple[str, ...]
    """How each request ended that did not succeed: sent after the event, or under way."""
    failing_seconds: float
    """From the event to the last request that was sent and then failed."""

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(self.failures).items())
        return (
            f"{self.event}: {len(self.failures)} failed, the last one sent {self.failing_seconds:.1f} s later; {kinds}"
        )


def run(system: ClusterSystem, load: SteadyLoad, fault: Fault) -> Iterator[tuple[str, float]]:
    """Inject a fault, wait for steady service without what is broken, repair it, and wait for steady service again.

    Yields both events with their times: a part that comes back must not be noticed either.
    """
    yield fault.name, time.monotonic()
    fault.inject(system)
    wait_until_steady(load)
    yield f"{fault.name}, repaired", time.monotonic()
    fault.repair(system)
    wait_until_steady(load)


def wait_until_steady(load: SteadyLoad) -> None:
    """Wait until so many requests in a row, sent from now on, have been answered whole."""
    first = len(load.sent)

    def steady() -> bool:
        nonlocal first
        for place in range(first, len(load.sent)):
            pending = load.sent[place][1]
            if not pending.ending.done():
                return False
            if not pending.result().whole and load.sent[place][0].cut_after_bytes is None:
                first = place + 1
            elif place - first >= _STEADY_ANSWERS:
                return True
        return False

    until("service is steady", steady, _STEADY_SECONDS)


def keep_loading(load: SteadyLoad, seconds: float) -> None:
    """Wait until the load has lasted so long in all."""
    until("the load has lasted long enough", lambda: time.monotonic() - load.sent_at[0] >= seconds, seconds + 60)


def impacts(load: SteadyLoad, events: list[tuple[str, float]]) -> Iterator[Impact]:
    """Yield the impact of each event, in order: of the requests that failed from then until the next one.

    No event begins before those that the former one disturbed have ended, so that one under way is failed by the new event.
    """
    ends = [at for _, at in events[1:]] + [float("inf")]
    failed = [
        (at, load.ended_at[request.script.name], _failure(request, pending.result()))
        for at, (request, pending) in zip(load.sent_at, load.sent, strict=True)
        if not pending.result().whole and request.cut_after_bytes is None
    ]
    for (name, at), end in zip(events, ends, strict=True):
        during = [(max(0.0, sent - at), failure) for sent, ended, failure in failed if at <= ended < end]
        yield Impact(
            name, tuple(failure for _, failure in during), max((seconds for seconds, _ in during), default=0.0)
        )


def _failure(request: Request, ending: ClientResponse) -> str:
    error = ending.error or {}
    return f"{client_outcome(request, ending)} ({error.get('code')}: {error.get('message')})"
