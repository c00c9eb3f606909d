"""Containers that crash and containers that are replaced, under load: no answer is lost, and nothing is paid twice."""

import random
from pathlib import Path

import pytest

from tests.containers.project import ComposeProject
from tests.containers.provider import RemoteUpstream
from tests.support.clients.steady_load import Request, SteadyLoad, client_outcomes
from tests.support.clients.stream_clients import StreamClients
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed
from tests.support.waiting import until

MODEL = "scripted/m"
KILLED = ("provider-worker-1", "router", "ingress", "usage-ledger", "key-vault", "nats", "postgres")
RATE_PER_SECOND = 15.0
"""Enough that requests are under way at any moment, and little enough for what is started meanwhile on two cores."""
BEFORE, AFTER = 20, 20
"""Answers to wait for before a container is disrupted and afterwards."""
_ACCOUNTED_SECONDS = 120.0


def short_answer(name: str, numbers: random.Random) -> Request:
    return Request(Script(name, 3, pause_seconds=numbers.uniform(0, 0.05)), stream=numbers.random() < 0.5)


def load_on(clients: StreamClients, name: str) -> SteadyLoad:
    return SteadyLoad(clients, MODEL, name, RATE_PER_SECOND, short_answer, random_seed())


@pytest.fixture(scope="module", autouse=True)
def _provider_is_offered(project: ComposeProject, provider: RemoteUpstream, clients: StreamClients) -> None:
    def answered() -> bool:
        script = Script("is-it-offered", 1)
        return clients.ask(MODEL, script.prompt, stream=False).result().whole

    until("the endpoint is offered", answered, 60)


@pytest.mark.parametrize("service", KILLED)
def test_a_killed_container_is_started_again_and_no_answer_is_lost(
    project: ComposeProject, provider: RemoteUpstream, clients: StreamClients, tmp_path: Path, service: str
) -> None:
    with load_on(clients, f"killed-{service}") as load:
        until("answers before the kill", lambda: load.whole >= BEFORE, 60)
        project.kill(service)
        so_far = load.whole
        until("answers after the recovery", lambda: load.whole >= so_far + AFTER, 90)
    print(f"kill of {service}: {dict(client_outcomes(load))}")
    wait_until_accounted(load.endings(), provider, project.ledger(tmp_path), _ACCOUNTED_SECONDS)


def test_every_container_is_replaced_and_no_answer_is_lost(
    project: ComposeProject, provider: RemoteUpstream, clients: StreamClients, tmp_path: Path
) -> None:
    """One after the other, as docs/guides/containers.md says. Only without an ingress is nobody there to answer."""
    with load_on(clients, "replaced") as load:
        until("answers before", lambda: load.whole >= BEFORE, 60)
        for service in STARTED_FIRST:
            project.replace(service)
        for service in ("provider-worker-1", "provider-worker-2"):
            project.recreate(service)
        so_far = load.whole
        until("answers afterwards", lambda: load.whole >= so_far + AFTER, 60)
    outcomes = client_outcomes(load)
    print(f"replacement of {', '.join(STARTED_FIRST)} and the workers: {dict(outcomes)}")
    wait_until_accounted(load.endings(), provider, project.ledger(tmp_path), _ACCOUNTED_SECONDS)
    assert set(outcomes) == {"whole"}


def test_a_replaced_ingress_refuses_only_while_it_is_away(
    project: ComposeProject, provider: RemoteUpstream, clients: StreamClients, tmp_path: Path
) -> None:
    with load_on(clients, "without-ingress") as load:
        until("answers before", lambda: load.whole >= BEFORE, 60)
        project.recreate("ingress")
        so_far = load.whole
        until("answers afterwards", lambda: load.whole >= so_far + AFTER, 60)
    outcomes = client_outcomes(load)
    print(f"replacement of ingress: {dict(outcomes)}")
    wait_until_accounted(load.endings(), provider, project.ledger(tmp_path), _ACCOUNTED_SECONDS)
    assert set(outcomes) <= {"whole", "connection lost"}, "what was accepted was answered to its end"


STARTED_FIRST = ("usage-ledger", "tenant-directory", "key-vault", "router", "health-monitor", "billing", "notifier")
"""Services of which a second container runs beside the first until it is ready."""
