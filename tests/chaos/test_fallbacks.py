"""Providers that fail at random, and a router and a worker that are killed meanwhile: nearly every fallback that the table allows
ends in an answer, and none happens that it forbids.
"""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.fallback import DEFAULT_FALLBACK_POLICY, actions_after, is_final
from tests.support.clients.steady_load import Request, SteadyLoad, client_outcome
from tests.support.ledger.attempts_table import LedgerAttempt
from tests.support.providers.scripted_answers import Script, by_script, script_of
from tests.support.providers.upstream import ProviderRequest, Reply, failing, pieces_of, running_upstream
from tests.support.random_seed import random_seed
from tests.support.system.scripted_system import ScriptedSystem
from tests.support.waiting import until

MODEL = "chaos-fallback"
FAILURE_SHARES = {"a": 0.3, "b": 0.1, "c": 0.0}
"""Too few to open a circuit, which would spare the failures instead of following them."""
BUSY = {"message": "try later", "code": "overloaded"}


def _fails(endpoint: str, name: str) -> Reply | None:
    """Return how an endpoint fails for a request, by its name alone; None if it answers."""
    numbers = random.Random(f"{endpoint} {name}")
    if numbers.random() >= FAILURE_SHARES[endpoint]:
        return None
    json = {"content-type": "application/json"}
    return numbers.choice(
        [
            failing(503, BUSY),
            failing(429, {"message": "slow down", "code": "rate_limit_exceeded"}),
            failing(500, {"message": "broken"}),
            failing(401, {"message": "who are you?", "code": "invalid_api_key"}),
            failing(404, {"message": "no such model", "code": "model_not_found"}),
            Reply(200, json, pieces_of(b'{"error": {"message": "try later", "code": 503}}')),
            Reply(200, json, pieces_of(), hang_up=True),
        ]
    )


def flaky(request: ProviderRequest) -> Reply:
    endpoint = request.path.split("/")[1].removeprefix("flaky-")
    return _fails(endpoint, script_of(request.body).name) or by_script(request)


@pytest.fixture(scope="module")
def flaky_system(scripted: ScriptedSystem) -> Iterator[ScriptedSystem]:
    with running_upstream(flaky) as upstream:
        root = upstream.base_url.removesuffix("/v1")
        for name in FAILURE_SHARES:
            scripted.system.add_endpoint(f"flaky-{name}", f"{root}/flaky-{name}/v1", MODEL)
        yield scripted


def short_answer(name: str, numbers: random.Random) -> Request:
    return Request(Script(name, numbers.randrange(1, 5)), stream=numbers.random() < 0.5)


def failure_of(attempt: LedgerAttempt) -> Failure:
    assert attempt.failure_class is not None
    assert attempt.where is not None
    return Failure(failure_class=FailureClass(attempt.failure_class), where=Where(attempt.where), message="as recorded")


def _wait_for(load: SteadyLoad, count: int) -> None:
    so_far = load.whole
    until(f"{count} more answers", lambda: load.whole >= so_far + count, 60)


@pytest.mark.timeout(300)
def test_nearly_every_eligible_fallback_succeeds(flaky_system: ScriptedSystem) -> None:
    system, seed = flaky_system.system, random_seed()
    with SteadyLoad(flaky_system.clients, MODEL, f"fb{seed}", 80.0, short_answer, seed) as load:
        cut_short: set[str] = set()
        for process in ("provider_worker-1", "router"):
            _wait_for(load, 100)
            before = load.under_way()
            system.kill(process, wait=False)
            cut_short |= before | load.under_way()
        _wait_for(load, 200)
    endings = load.endings()
    names = [request.script.name for request, _ in load.sent]

    def accounted() -> list[LedgerAttempt] | None:
        rows = flaky_system.ledger.of_operations(names)
        completed = sum(row.outcome == "completed" for row in rows)
        return rows if completed >= sum(ending.whole for ending in endings.values()) else None

    rows = until("every answer is in the ledger", accounted)
    made: dict[str, list[LedgerAttempt]] = {}
    for row in sorted(rows, key=lambda row: row.attempt_number):
        made.setdefault(row.operation or "", []).append(row)
    counts: Counter[str] = Counter()
    for request, _ in load.sent:
        name = request.script.name
        outcome = client_outcome(request, endings[name])
        failed = [attempt for attempt in made.get(name, []) if attempt.outcome == "failed"]
        if not failed:
            continue
        failures = [failure_of(attempt) for attempt in failed]
        finals = [
            is_final(actions_after(one, earlier=failures[:number], policy=DEFAULT_FALLBACK_POLICY))
            for number, one in enumerate(failures)
        ]
        assert not any(finals[:-1]), f"{name} was followed although {failures} forbids it"
        if finals[-1]:
            counts["not eligible"] += 1
        elif outcome == "whole":
            counts["whole"] += 1
        else:
            # What ran in a killed process may have been paid for, and is not repeated: test_kill.py is about that.
            counts["cut short" if name in cut_short else "failed"] += 1
    eligible = counts["whole"] + counts["failed"]
    share = 100 * counts["whole"] / eligible
    print(f"{len(load.sent)} requests, {eligible} eligible fallbacks, {share:.1f} % succeeded; {dict(counts)}")
    assert eligible >= 80
    assert share > 95
