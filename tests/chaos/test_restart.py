"""`keyferry restart` under load fails no request.

The short version asks less often and for shorter answers; the long one is the claim: 100 requests a second, answers of up to
ten seconds.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.clients.steady_load import Request, RequestFactory, SteadyLoad, client_outcomes
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed
from tests.support.system.scripted_system import MODEL, ScriptedSystem, running_scripted_system
from tests.support.waiting import until

SERVICES = ("router", "provider_worker", "ingress")


@dataclass(frozen=True)
class Size:
    """How much load, and for how long the longest answer lasts."""

    rate_per_second: float
    longest_seconds: float
    word_count: int


SHORT = Size(rate_per_second=20, longest_seconds=2, word_count=20)
LONG = Size(rate_per_second=100, longest_seconds=10, word_count=20)
SIZES = [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=[pytest.mark.long])]


def answers_of(size: Size) -> RequestFactory:
    def make(name: str, numbers: random.Random) -> Request:
        pause_seconds = numbers.uniform(0, size.longest_seconds) / (size.word_count + 4)
        return Request(Script(name, size.word_count, pause_seconds=pause_seconds))

    return make


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_rolling_restart_fails_no_request(scripted: ScriptedSystem, service: str, size: Size) -> None:
    seed = random_seed()
    some = int(2 * size.rate_per_second)
    name = f"restart-{service}-{size.rate_per_second:g}".replace("_", "-")
    with SteadyLoad(scripted.clients, MODEL, name, size.rate_per_second, answers_of(size), seed) as load:
        until("answers before the restart", lambda: load.whole >= some, 90)
        scripted.system.restart(service)
        so_far = load.whole
        until("answers after the restart", lambda: load.whole >= so_far + some, 90)
    outcomes = client_outcomes(load)
    print(f"restart of {service}, seed {seed}: {dict(outcomes)}")
    assert outcomes == Counter(whole=len(load.sent)), [
        (name, ending.status, ending.error) for name, ending in load.endings().items() if not ending.whole
    ]
    wait_until_accounted(load.endings(), scripted.upstream, scripted.ledger)


def test_an_answer_that_outlasts_the_drain_time_ends_with_an_error_event(tmp_path: Path) -> None:
    with running_scripted_system(tmp_path / "home", {"KEYFERRY_DRAIN_SECONDS": "1"}) as scripted:
        for service in ("ingress", "provider_worker"):
            script = Script(f"outlasts-{service}", 600, pause_seconds=0.1)
            pending = scripted.clients.ask(MODEL, script.prompt, operation=script.name)
            until("it is being answered", lambda pending=pending: pending.received_bytes > 1000)  # type: ignore[misc]
            scripted.system.restart(service)
            ending = pending.result()
            assert ending.reported_failure, (service, ending.status, ending.closed_well, ending.body[-300:])
            (attempt,) = scripted.ledger.of_operation(script.name)
            assert attempt.outcome in ("cancelled", "failed")
            assert attempt.output_tokens > 0
