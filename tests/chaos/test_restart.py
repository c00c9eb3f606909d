"""`keyferry restart` under load: nobody notices.

The short version asks less often and for shorter answers; the long one is the claim: 100 requests a second, answers of up to
ten seconds.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.accounting import until_accounted
from tests.support.chaos_seed import chaos_seed
from tests.support.scripted_words import Script
from tests.support.stage import MODEL, Stage, running_stage
from tests.support.steady_load import Making, Request, SteadyLoad, verdicts
from tests.support.waiting import until

SERVICES = ("router", "provider_worker", "ingress")


@dataclass(frozen=True)
class Size:
    """How much load, and for how long the longest answer lasts."""

    rate_per_second: float
    longest_seconds: float
    detail: int


SHORT = Size(rate_per_second=20, longest_seconds=2, detail=20)
LONG = Size(rate_per_second=100, longest_seconds=10, detail=20)
SIZES = [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=[pytest.mark.long])]


def answers_of(size: Size) -> Making:
    def make(name: str, numbers: random.Random) -> Request:
        pause_seconds = numbers.uniform(0, size.longest_seconds) / (size.detail + 4)
        return Request(Script(name, size.detail, pause_seconds=pause_seconds))

    return make


@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_rolling_restart_fails_no_request(stage: Stage, service: str, size: Size) -> None:
    seed = chaos_seed()
    some = int(2 * size.rate_per_second)
    name = f"restart-{service}-{size.rate_per_second:g}".replace("_", "-")
    with SteadyLoad(stage.clients, MODEL, name, size.rate_per_second, answers_of(size), seed) as load:
        until("answers before the restart", lambda: load.whole >= some, 90)
        stage.system.restart(service)
        so_far = load.whole
        until("answers after the restart", lambda: load.whole >= so_far + some, 90)
    told = verdicts(load)
    print(f"restart of {service}, seed {seed}: {dict(told)}")
    assert told == Counter(whole=len(load.asked)), [
        (name, ending.status, ending.error) for name, ending in load.endings().items() if not ending.whole
    ]
    until_accounted(load.endings(), stage.upstream, stage.ledger)


def test_an_answer_that_outlasts_the_drain_time_ends_with_an_error_event(tmp_path: Path) -> None:
    with running_stage(tmp_path / "home", {"KEYFERRY_DRAIN_SECONDS": "1"}) as stage:
        for service in ("ingress", "provider_worker"):
            script = Script(f"outlasts-{service}", 600, pause_seconds=0.1)
            asking = stage.clients.ask(MODEL, script.prompt, operation=script.name)
            until("it is being answered", lambda asking=asking: asking.received_bytes > 1000)  # type: ignore[misc]
            stage.system.restart(service)
            ending = asking.result()
            assert ending.told_of_failure, (service, ending.status, ending.closed_well, ending.body[-300:])
            (attempt,) = stage.ledger.of_operation(script.name)
            assert attempt.outcome in ("cancelled", "failed")
            assert attempt.output_tokens > 0
