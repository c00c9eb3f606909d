"""kill -9 of any service under load: what was answered is in the ledger once, and nothing is paid twice.

The provider's own log is the oracle: each call it saw has its attempt, and each answer a client got whole has exactly one
completed attempt. An attempt whose worker died just before it called has no call and says `indeterminate`: the worker could
not know either.
"""

import random
from collections.abc import Iterator

import pytest

from tests.support.clients.steady_load import Request, SteadyLoad, client_outcomes
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed
from tests.support.system.scripted_system import MODEL, ScriptedSystem
from tests.support.waiting import until

LEDGER = "usage_ledger"
PROCESSES = (
    LEDGER,
    "ingress",
    "router",
    "provider_worker-1",
    "health_monitor",
    "tenant_directory",
    "key_vault",
    "console",
    "billing",
    "notifier",
    "nats",
    "postgres",
)
RATE_PER_SECOND = 100.0
BEFORE, AFTER = 50, 50
"""Answers to wait for before the kill and after the recovery."""


def short_answer(name: str, numbers: random.Random) -> Request:
    """About ten are under way at any time, so that a kill hits some in every state."""
    return Request(Script(name, 3, pause_seconds=numbers.uniform(0, 0.05)), stream=numbers.random() < 0.5)


@pytest.fixture(scope="module")
def compared_later(scripted: ScriptedSystem) -> Iterator[list[SteadyLoad]]:
    """Collect loads that are compared with provider and ledger after all kills of this module.

    What a killed ledger had taken and not confirmed comes again after twenty seconds, in which other processes are killed.
    """
    loads: list[SteadyLoad] = []
    yield loads
    for load in loads:
        wait_until_accounted(load.endings(), scripted.upstream, scripted.ledger)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("process", PROCESSES)
def test_a_killed_process_loses_no_answer_and_pays_nothing_twice(
    scripted: ScriptedSystem, compared_later: list[SteadyLoad], process: str
) -> None:
    name = f"kill-{process}".replace("_", "-")
    with SteadyLoad(scripted.clients, MODEL, name, RATE_PER_SECOND, short_answer, random_seed()) as load:
        until("answers before the kill", lambda: load.whole >= BEFORE, 60)
        scripted.system.kill(process)
        so_far = load.whole
        until("answers after the recovery", lambda: load.whole >= so_far + AFTER, 60)
    print(f"kill of {process}: {dict(client_outcomes(load))}")
    if process == LEDGER:
        compared_later.append(load)
    else:
        wait_until_accounted(load.endings(), scripted.upstream, scripted.ledger)
