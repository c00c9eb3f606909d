"""Dead letters are taken in again: each record once, whatever dies in between, and nothing is lost."""

import asyncio
import json
import secrets
from collections.abc import Sequence
from contextlib import suppress

import pytest

from keyferry.contracts.audit import ListAudit
from keyferry.contracts.dead_letters import (
    GetDeadLetter,
    ReplayDeadLetters,
    ReplayedLetter,
    ReplayedLetters,
    ReplayOutcome,
    encode_base64,
)
from keyferry.contracts.ledger_management import DEAD_LETTER_GET, DEAD_LETTER_REPLAY
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import AUDIT_LIST, DEAD_LETTER_DISCARD, DEAD_LETTER_LIST, Role
from keyferry.contracts.usage import DeadLetterEntry, DiscardDeadLetters, ListDeadLetters
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.dead_letter import RejectedRecord, message_id, to_dead_letter
from services.usage_ledger.dead_letter_stream import DeadLetterStream
from tests.integration.usage_ledger.processes import LedgerServers
from tests.integration.usage_ledger.test_audit import SERVICE, event
from tests.support.ledger.attempt_records import WORKER, attempt_record, batch_message, decision_record
from tests.support.waiting import eventually

OLD_REASON = "AttemptRecord: outcome: a former build did not know this"


def tampered(**changes: object) -> bytes:
    return json.dumps(json.loads(attempt_record().encode()) | changes).encode()


async def bury(servers: LedgerServers, originals: Sequence[tuple[bytes, str, str]], reason: str = OLD_REASON) -> None:
    """Store dead letters of a former build: original, stream and producer of each."""
    async with servers.installation.client(Role.USAGE_LEDGER) as ledger:
        for original, stream, producer in originals:
            rejected = RejectedRecord(original, reason, producer, stream)
            await ledger.jetstream().publish(
                "kf.v1.record.rejected.usage-ledger",
                to_dead_letter(rejected).encode(),
                headers={"Nats-Msg-Id": message_id(rejected)},
            )


async def replay(operator: Bus, **command: object) -> ReplayedLetters:
    return await operator.ask(DEAD_LETTER_REPLAY, ReplayDeadLetters.model_validate(command), timeout_seconds=20)


async def left(operator: Bus) -> list[DeadLetterEntry]:
    return (await operator.ask(DEAD_LETTER_LIST, ListDeadLetters(), timeout_seconds=5)).entries


def outcomes(replayed: ReplayedLetters) -> list[str]:
    return [letter.outcome.value for letter in replayed.letters]


async def test_records_of_every_stream_are_taken_in_again(servers: LedgerServers) -> None:
    attempt, decision, audited, foreign = attempt_record(), decision_record(), event(1), attempt_record()
    batch = [attempt_record(), attempt_record()]
    bad = tampered(tenant=None)
    originals = [
        (attempt.encode(), "ATTEMPTS", WORKER),
        (decision.encode(), "DECISIONS", "router"),
        (audited.encode(), "AUDIT", SERVICE),
        (batch_message([*(record.encode() for record in batch), bad]), "ATTEMPTS", WORKER),
        (foreign.encode(), "ATTEMPTS", "provider-worker-2"),
        (b"}{", "SPEND", "unknown"),
    ]
    await bury(servers, originals)
    async with servers.in_process() as service, servers.operator() as operator:
        shown = await operator.ask(DEAD_LETTER_GET, GetDeadLetter(number=1), timeout_seconds=5)
        assert (shown.original, shown.record_id, shown.producer) == (attempt.encode(), attempt.attempt_id, WORKER)
        assert "upgrade the ledger and replay it" in shown.hint

        done = await replay(operator)
        assert outcomes(done) == ["recorded", "recorded", "recorded", "recorded", "refused", "refused"]
        assert done.next is None
        assert (
            "2 records of the batch are recorded, 0 had been already, and 1 are dead letters" in done.letters[3].detail
        )
        assert "may not account for another worker" in done.letters[4].detail
        assert servers.recorded() == sorted(record.attempt_id for record in [attempt, *batch])
        assert servers.query("SELECT decision_id FROM usage_ledger.decisions") == [(decision.decision_id,)]
        assert servers.query("SELECT event_id FROM usage_ledger.audit_entries WHERE tenant = 'acme'") == [
            (audited.event_id,)
        ]
        rest = await left(operator)
        assert [entry.original.encode() for entry in rest] == [b"}{", bad, foreign.encode()]
        assert rest[2].number == done.letters[4].number_now
        assert "may not account for another worker" in rest[2].reason, "the reason is that of the last refusal"
        assert service.facts()["dead_letters"] == "3"

        again = await replay(operator, reason="ACCOUNT FOR another")
        assert outcomes(again) == ["refused"]
        assert again.letters[0].number_now is None, "the same reason again changes nothing"
        assert len(await left(operator)) == 3


async def test_a_reduced_attempt_stands_and_is_not_doubled(servers: LedgerServers) -> None:
    line = tampered(latency_ms=2**70)
    async with servers.in_process() as service, servers.worker() as worker, servers.operator() as operator:
        await worker.publish([line])
        await eventually("it is a dead letter", lambda: service.facts()["dead_letters"] == "1")
        before = servers.query("SELECT * FROM usage_ledger.attempts")
        refused = await replay(operator, number=1)
        assert outcomes(refused) == ["refused"]
        assert "its attempt is recorded without latency_ms" in refused.letters[0].detail

        corrected = json.dumps(json.loads(line) | {"latency_ms": 7}, indent=1).encode()
        stands = await replay(operator, number=1, copy_base64=encode_base64(corrected))
        assert outcomes(stands) == ["reduced"]
        assert "without latency_ms: that row stands" in stands.letters[0].detail
        assert servers.query("SELECT * FROM usage_ledger.attempts") == before
        assert [entry.number for entry in await left(operator)] == [1], "nothing of the original is lost"

        other = json.dumps(json.loads(corrected) | {"attempt_id": "att_other"}).encode()
        again = await replay(operator, number=1, copy_base64=encode_base64(other))
        assert "the copy has another attempt_id" in again.letters[0].detail
        foreign = json.dumps(json.loads(corrected) | {"worker_id": "provider-worker-2"}).encode()
        again = await replay(operator, number=1, copy_base64=encode_base64(foreign))
        assert "may not account for another worker" in again.letters[0].detail
        assert servers.query("SELECT * FROM usage_ledger.attempts") == before


async def test_a_corrected_copy_is_recorded_and_audited(servers: LedgerServers) -> None:
    record = attempt_record()
    broken = json.dumps(json.loads(record.encode()) | {"tenant": "\x00"}).encode()
    await bury(servers, [(broken, "ATTEMPTS", WORKER), (b"}{", "ATTEMPTS", WORKER)])
    async with servers.in_process(), servers.operator() as operator:
        done = await replay(operator, number=1, copy_base64=encode_base64(record.encode()), actor="console:operator")
        assert outcomes(done) == ["recorded"]
        assert servers.recorded() == [record.attempt_id]
        with pytest.raises(Refused, match="there is no dead letter 1") as refused:
            await replay(operator, number=1)
        assert refused.value.refusal.code is ErrorCode.NOT_FOUND
        with pytest.raises(Refused, match="give its number"):
            await replay(operator, copy_base64=encode_base64(b"{}"))
        only = DiscardDeadLetters(up_to=2, only=True)
        assert (await operator.ask(DEAD_LETTER_DISCARD, only, timeout_seconds=5)).left == 0
        with pytest.raises(Refused, match="there is no dead letter 2"):
            await operator.ask(DEAD_LETTER_DISCARD, only, timeout_seconds=5)
        entries = (await operator.ask(AUDIT_LIST, ListAudit(tenant=PLATFORM_TENANT), timeout_seconds=5)).entries
        assert [(entry.event.action, entry.event.actor, entry.event.target) for entry in entries] == [
            ("dead_letter.discard", "operator", "dead letter 2"),
            ("dead_letter.replay", "console:operator", "dead letter 1"),
        ]
        assert set(entries[1].event.details) == {"stream", "producer", "copy_sha256"}


async def test_a_process_that_dies_between_commit_and_removal_doubles_and_loses_nothing(
    servers: LedgerServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [attempt_record() for _ in range(24)]
    await bury(servers, [(record.encode(), "ATTEMPTS", WORKER) for record in records])
    deaths = iter([True, False] * 12)
    remove = DeadLetterStream.remove

    async def remove_or_die(self: DeadLetterStream, number: int) -> None:
        if next(deaths, False):
            raise TimeoutError("the process dies here")
        await remove(self, number)

    monkeypatch.setattr(DeadLetterStream, "remove", remove_or_die)
    found: list[ReplayedLetter] = []
    async with servers.in_process(), servers.operator() as operator:
        while await left(operator):
            with suppress(Refused):
                found += (await replay(operator)).letters
        assert servers.recorded() == sorted(record.attempt_id for record in records)
        assert {letter.outcome for letter in found} <= {ReplayOutcome.RECORDED, ReplayOutcome.KNOWN}


async def test_a_killed_ledger_is_replaced_and_every_record_is_there_once(servers: LedgerServers) -> None:
    records = [attempt_record() for _ in range(150)]
    bad = tampered(attempt_id=None, note=secrets.token_hex(4))
    await bury(servers, [(record.encode(), "ATTEMPTS", WORKER) for record in records] + [(bad, "ATTEMPTS", WORKER)])
    async with servers.process() as first, servers.operator() as operator:
        await eventually("it is ready", lambda: "ready" in first.log())
        page = operator.ask(DEAD_LETTER_REPLAY, ReplayDeadLetters(), timeout_seconds=20)
        running = asyncio.create_task(page)
        await eventually("some are recorded", servers.recorded)
        first.kill()
        await first.exited()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        async with servers.in_process():
            after, up_to = 0, None
            while True:
                done = await replay(operator, after=after, up_to=up_to)
                if done.next is None:
                    break
                after, up_to = done.next, done.up_to
            assert servers.recorded() == sorted(record.attempt_id for record in records)
            assert [entry.original.encode() for entry in await left(operator)] == [bad]
