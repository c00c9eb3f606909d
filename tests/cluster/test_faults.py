"""Whatever single part of a cluster fails, requests are served again in seconds; nothing is lost, and nothing is paid twice.

The provider's own log, the bytes of the clients and the ledger's table are compared with each other for each fault. The short
version has one fault of each kind that only a cluster has; the long one has every service and ten minutes of load.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.clients.steady_load import Request, SteadyLoad, client_outcomes
from tests.support.cluster import faults
from tests.support.cluster.faults import Fault, Impact, killed
from tests.support.cluster.system import MODEL, ClusterSystem, running_cluster
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed

UNAVAILABLE_SECONDS = 10.0
"""The claim: a request that is sent later than this after a fault succeeds."""
ON_PATH = {
    "tenant_directory": 1,
    "usage_ledger": 1,
    "health_monitor": 1,
    "key_vault": 1,
    "console": 0,
    "billing": 0,
    "notifier": 0,
}
"""What the short version leaves out: two of each are started of the services alone that a request passes."""
SHORT = (faults.server_cut_off(), faults.primary_killed())
LONG = (
    *(
        killed(f"{service}-1")
        for service in (
            "ingress",
            "router",
            "provider_worker",
            "usage_ledger",
            "key_vault",
            "tenant_directory",
            "health_monitor",
            "console",
            "billing",
            "notifier",
        )
    ),
    faults.leader_killed(),
    faults.server_killed(),
    faults.server_frozen(),
    faults.network_held_up(),
    faults.server_cut_off(),
    faults.primary_killed(),
    faults.standby_killed(),
)
LONG_SECONDS = 600.0


def of_all_kinds(name: str, numbers: random.Random) -> Request:
    """Return a request: streamed or not, of up to two seconds; one client in twenty hangs up somewhere."""
    word_count = numbers.randrange(1, 30)
    script = Script(name, word_count, pause_seconds=numbers.uniform(0, 2) / (word_count + 4))
    cut = numbers.randrange(1, 4000) if numbers.random() < 0.05 else None
    return Request(script, stream=numbers.random() < 0.7, cut_after_bytes=cut)


@contextmanager
def running(parent: Path, counts: Mapping[str, int]) -> Iterator[ClusterSystem]:
    for path in (parent, parent.parent):
        path.chmod(0o711)  # PostgreSQL may run as another user
    with running_cluster(parent, counts=counts) as system:
        yield system


def inject(
    system: ClusterSystem, schedule: Sequence[Fault], name: str, rate_per_second: float, seconds: float
) -> list[Impact]:
    """Inject these faults in turn, each repaired before the next, for at least `seconds`. Compare every account at the end."""
    seed = random_seed()
    events: list[tuple[str, float]] = []
    with SteadyLoad(system.clients, MODEL, name, rate_per_second, of_all_kinds, seed) as load:
        faults.wait_until_steady(load)
        for fault in schedule:
            events += faults.run(system, load, fault)
        faults.keep_loading(load, seconds)
    outcomes = client_outcomes(load)
    impacts = list(faults.impacts(load, events))
    print(f"seed {seed}, {len(load.sent)} requests: {dict(outcomes)}", *impacts, sep="\n  ")
    attempts = wait_until_accounted(load.endings(), system.upstream, system.ledger)
    print(f"attempts: {dict(Counter(attempt.outcome for made in attempts.values() for attempt in made))}")
    return impacts


@pytest.mark.timeout(300)
def test_a_lost_part_is_made_up_for_and_nothing_is_lost_or_paid_twice(tmp_path: Path) -> None:
    with running(tmp_path, ON_PATH) as system:
        inject(system, SHORT, "short", 10.0, 0.0)


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_ten_minutes_of_faults_keep_clients_waiting_for_seconds_each(tmp_path: Path) -> None:
    with running(tmp_path, {}) as system:
        impacts = inject(system, LONG, "long", 20.0, LONG_SECONDS)
    assert [str(impact) for impact in impacts if impact.failing_seconds > UNAVAILABLE_SECONDS] == []
