"""Whatever single part of a cluster fails, requests are served again in seconds; nothing is lost, and nothing is paid twice.

The provider's own log, the bytes of the clients and the ledger's table are compared with each other for each fault. The short
version has one fault of each kind that only a cluster has; the long one has every service and ten minutes of load.
"""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.support.clients.steady_load import Request, SteadyLoad, client_outcomes
from tests.support.cluster import faults
from tests.support.cluster.faults import Fault, killed
from tests.support.cluster.system import MODEL, ClusterSystem
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed

UNAVAILABLE_SECONDS = 10.0
"""The claim: a request that is sent later than this after a fault succeeds."""
SHORT = (faults.server_cut_off(), faults.primary_killed(), killed("router-1"))
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


def check(system: ClusterSystem, schedule: Sequence[Fault], name: str, rate_per_second: float, seconds: float) -> None:
    """Inject these faults in turn, each repaired before the next, for at least `seconds`. Compare every account at the end."""
    seed = random_seed()
    began: list[tuple[str, float]] = []
    with SteadyLoad(system.clients, MODEL, name, rate_per_second, of_all_kinds, seed) as load:
        faults.wait_until_steady(load)
        for fault in schedule:
            began.append(faults.run(system, load, fault))
        faults.keep_loading(load, seconds)
    outcomes = client_outcomes(load)
    impacts = list(faults.impacts(load, began))
    print(f"seed {seed}, {len(load.sent)} requests: {dict(outcomes)}", *impacts, sep="\n  ")
    attempts = wait_until_accounted(load.endings(), system.upstream, system.ledger)
    print(f"attempts: {dict(Counter(attempt.outcome for made in attempts.values() for attempt in made))}")
    too_long = [str(impact) for impact in impacts if impact.failing_seconds > UNAVAILABLE_SECONDS]
    assert not too_long


@pytest.mark.timeout(300)
def test_a_lost_part_is_made_up_for_in_seconds(cluster: ClusterSystem) -> None:
    check(cluster, SHORT, "short", 15.0, 0.0)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_minutes_of_faults_lose_nothing_and_pay_nothing_twice(cluster: ClusterSystem) -> None:
    check(cluster, LONG, "long", 20.0, LONG_SECONDS)
