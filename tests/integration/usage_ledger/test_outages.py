"""Outages and what they did to requests, from changes of health, attempts and decisions in any order."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.health import CircuitState, Health, KeyClass, ListOutages, Outage, Target
from keyferry.contracts.route import Candidate, DropReason
from keyferry.contracts.topology import HEALTH_CHANGED, OUTAGE_LIST, Role
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from tests.integration.usage_ledger.processes import LedgerServers
from tests.support.ledger.attempt_records import attempt_record, decision_record
from tests.support.waiting import eventually, eventually_async

BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
ENDED = BEGAN + timedelta(minutes=3)
ORIGIN = "https://api.openai.com"
GPT = Target(provider="openai", model="gpt", origin=ORIGIN, key_class=KeyClass.PLATFORM)
BROKEN = Failure(failure_class=FailureClass.SERVER, message="broken", where=Where.HTTP_STATUS, status=500)
REFUSED_KEY = Failure(failure_class=FailureClass.AUTH, message="no", where=Where.HTTP_STATUS, status=401)


def minutes(count: float) -> datetime:
    """Return a moment of the outage."""
    return BEGAN + timedelta(minutes=count)


def changed(state: CircuitState, at: datetime, target: Target = GPT) -> Health:
    until = None if state is CircuitState.CLOSED else at + timedelta(seconds=5)
    return Health(target=target, state=state, reason=f"it is {state}", until=until, changed_at=at)


def failed(request: str, at: datetime, /, **changes: object) -> AttemptRecord:
    """Return a failed attempt of the platform's key at openai."""
    values: dict[str, object] = {
        "request_id": request,
        "provider": "openai",
        "model": "gpt",
        "origin": ORIGIN,
        "key_source": KeySource.PLATFORM,
        "outcome": Outcome.FAILED,
        "failure": BROKEN,
        "started_at": at,
        "latency_ms": 500,
    }
    return attempt_record(**(values | changes))


def served(request: str, at: datetime, **changes: object) -> AttemptRecord:
    """Return the attempt with which a request went on elsewhere."""
    elsewhere: dict[str, object] = {"provider": "azure", "model": "gpt-eu", "origin": "https://x.azure.example"}
    completed: dict[str, object] = {"outcome": Outcome.COMPLETED, "failure": None, "attempt_number": 2}
    return failed(request, at, **(elsewhere | completed | changes))


async def publish(servers: LedgerServers, changes: list[Health], times: int = 1) -> None:
    """Publish changes as the monitor does, but without the message ids by which the bus would drop repetitions."""
    async with servers.installation.client(Role.HEALTH_MONITOR) as client:
        for change in changes * times:
            subject = HEALTH_CHANGED.format(provider=change.target.provider)
            await client.jetstream().publish(subject, change.encode())


async def report(servers: LedgerServers, records: list[AttemptRecord]) -> None:
    async with servers.worker() as worker:
        await worker.publish([record.encode() for record in records])
        await worker.until_confirmed(records)


async def outages(operator: Bus, tenant: str | None = None, **span: datetime) -> list[Outage]:
    command = ListOutages(tenant=tenant, **span)
    return (await operator.ask(OUTAGE_LIST, command, timeout_seconds=10)).outages


def skipped(request: str, *, tenant: str = "acme", refused: bool = False) -> bytes:
    """Return a decision that skipped the target while it was out."""
    dropped = Candidate(
        provider="openai",
        model="gpt",
        key_source=KeySource.PLATFORM,
        kept=False,
        reason=DropReason.UNHEALTHY,
        detail="it gets no requests",
    )
    failure = Failure(failure_class=FailureClass.UNAVAILABLE, message="nothing is left") if refused else None
    made = decision_record(
        request_id=request,
        tenant=tenant,
        decided_at=minutes(1),
        candidates=[dropped],
        order=[],
        refusal=failure,
    )
    return made.encode()


async def test_an_outage_has_its_affected_requests_also_those_that_are_reported_late(servers: LedgerServers) -> None:
    async with servers.in_process() as ledger, servers.operator() as operator:
        await publish(servers, [changed(CircuitState.CLOSED, ENDED), changed(CircuitState.OPEN, BEGAN)], times=3)
        await eventually("the changes are recorded", lambda: ledger.facts()["health_changes"] == "2")
        [empty] = await outages(operator)
        assert (empty.began_at, empty.ended_at, empty.models) == (BEGAN, ENDED, ["gpt"])
        assert (empty.failed_attempts, empty.affected_requests) == (0, 0)

        await servers.decide([skipped("req_skipped"), skipped("req_refused", refused=True)])
        await servers.decide([skipped("req_theirs", tenant="globex")])
        await report(
            servers,
            [
                failed("req_opened_it", BEGAN - timedelta(seconds=2)),
                served("req_opened_it", BEGAN),
                failed("req_during", minutes(1)),
                failed("req_theirs", minutes(1), tenant="globex"),
                served("req_skipped", minutes(1), attempt_number=1),
                # What did not fail at this target, at this time, or through its fault, is not affected.
                failed("req_earlier", BEGAN - timedelta(minutes=5)),
                failed("req_later", ENDED + timedelta(seconds=1)),
                failed("req_own_key", minutes(1), key_source=KeySource.BYOK),
                failed("req_other_region", minutes(1), origin="https://eu.api.openai.com"),
                failed("req_bad_key", minutes(1), failure=REFUSED_KEY),
            ],
        )

        async def all_counted() -> Outage | None:
            [found] = await outages(operator)
            return found if found.affected_requests == 5 else None

        outage = await eventually_async("everything is counted", all_counted)
        assert (outage.failed_attempts, outage.served_elsewhere, outage.refused) == (3, 2, 1)
        [rerouted] = outage.rerouted_to
        assert (rerouted.provider, rerouted.model, rerouted.requests) == ("azure", "gpt-eu", 2)
        [theirs] = await outages(operator, "globex")
        assert (theirs.failed_attempts, theirs.affected_requests, theirs.served_elsewhere) == (1, 1, 0)


async def test_a_tenant_sees_its_own_and_shared_outages_and_spans_are_honoured(servers: LedgerServers) -> None:
    endpoint = Target(provider="custom", model="llama", tenant="globex", endpoint="lab", origin="https://lab.example")
    key = GPT.of_key("key_plat", "acme")
    async with servers.in_process() as ledger, servers.operator() as operator:
        await publish(
            servers,
            [
                changed(CircuitState.OPEN, BEGAN, endpoint),
                changed(CircuitState.OPEN, minutes(1)),
                changed(CircuitState.COOLING, BEGAN, key),
                changed(CircuitState.CLOSED, ENDED),
            ],
        )
        await eventually("the changes are recorded", lambda: ledger.facts()["health_changes"] == "4")
        assert [outage.provider for outage in await outages(operator)] == ["openai", "custom"]
        assert [outage.provider for outage in await outages(operator, "acme")] == ["openai"]
        assert [outage.endpoint for outage in await outages(operator, "globex")] == [None, "lab"]
        assert await outages(operator, "acme", until=BEGAN) == []
        [during] = await outages(operator, "acme", since=minutes(2), until=minutes(2.5))
        assert (during.began_at, during.ended_at) == (minutes(1), ENDED)
        with pytest.raises(Refused, match="`until` must be later than `since`"):
            await outages(operator, since=BEGAN, until=BEGAN)


async def test_a_tenant_sees_no_model_that_only_another_tenants_own_keys_call(servers: LedgerServers) -> None:
    """All models of an address that cannot be reached are out, among them one that was fine-tuned for somebody."""
    tuned = Target(provider="openai", model="ft:gpt:acme:payroll:1", origin=ORIGIN)
    plain = tuned.model_copy(update={"model": "gpt"})
    async with servers.in_process() as ledger, servers.operator() as operator:
        by_own_key: dict[str, object] = {"key_source": KeySource.BYOK}
        await report(servers, [failed("req_1", BEGAN, **by_own_key, model=tuned.model, tenant="acme")])
        await report(servers, [failed("req_2", BEGAN, **by_own_key, model=plain.model, tenant="globex")])
        await publish(servers, [changed(CircuitState.OPEN, BEGAN, tuned), changed(CircuitState.OPEN, BEGAN, plain)])
        await eventually("the changes are recorded", lambda: ledger.facts()["health_changes"] == "2")
        seen = {
            tenant: [one.models for one in await outages(operator, tenant)] for tenant in ("acme", "globex", "initech")
        }
        assert seen == {"acme": [[tuned.model]], "globex": [[plain.model]], "initech": []}
        assert [one.models for one in await outages(operator)] == [[tuned.model, plain.model]]


async def test_tenants_see_no_address_of_the_platforms_servers_and_old_pauses_are_removed(
    servers: LedgerServers,
) -> None:
    server = GPT.model_copy(update={"origin": "http://10.0.0.5:8000"})
    long_ago = datetime.now(UTC) - timedelta(days=8)
    async with servers.in_process() as ledger, servers.operator() as operator:
        old_pause = changed(CircuitState.COOLING, long_ago, GPT.of_key("key_plat", "acme"))
        await publish(servers, [old_pause, changed(CircuitState.OPEN, BEGAN, server)])
        await eventually("the changes are recorded", lambda: ledger.facts()["health_changes"] == "2")
        assert [outage.origin for outage in await outages(operator, "acme")] == [None]
        assert [outage.origin for outage in await outages(operator)] == ["http://10.0.0.5:8000"]
        left = "SELECT count(*) FROM usage_ledger.health_changes WHERE key_id IS NOT NULL"
        await eventually("the old pause is gone", lambda: servers.query(left) == [(0,)])


async def test_a_change_that_cannot_be_read_is_a_dead_letter_and_the_rest_is_recorded(servers: LedgerServers) -> None:
    async with servers.in_process() as ledger:
        async with servers.installation.client(Role.HEALTH_MONITOR) as client:
            await client.jetstream().publish(HEALTH_CHANGED.format(provider="openai"), b"{}")
            impostor = changed(CircuitState.OPEN, BEGAN).encode()
            await client.jetstream().publish(HEALTH_CHANGED.format(provider="anthropic"), impostor)
        await publish(servers, [changed(CircuitState.OPEN, BEGAN)])
        await eventually("the change is recorded", lambda: ledger.facts()["health_changes"] == "1")

        async def set_aside() -> bool:
            return [letter.stream for letter in await servers.dead_letters()] == ["CHANGES", "CHANGES"]

        await eventually_async("the others are set aside", set_aside)
