"""Records that no table can take go to the dead letters with a reason, and their worker gets a confirmation."""

import json
import secrets
from datetime import UTC, datetime
from functools import partial

import pytest

from keyferry.contracts.audit import ListAudit, VerifyAudit
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.topology import AUDIT_LIST, AUDIT_VERIFY, DEAD_LETTER_DISCARD, DEAD_LETTER_LIST, Role
from keyferry.contracts.usage import (
    AttemptRecord,
    DiscardDeadLetters,
    Discarded,
    ListDeadLetters,
    Outcome,
    UsageSource,
)
from keyferry.runtime.bus.requests import Refused
from services.usage_ledger.dead_letter import DeadLetter
from tests.integration.usage_ledger.processes import LedgerServers, Worker, reports
from tests.support.ledger.attempt_records import WORKER, attempt_record, decision_record
from tests.support.waiting import eventually

HUGE = 2**70


def tampered(**changes: object) -> bytes:
    return json.dumps(json.loads(attempt_record().encode()) | changes).encode()


BAD_LINES = {
    "no JSON": (b"}{", "Invalid JSON", None),
    "unknown outcome": (tampered(outcome="exploded"), "outcome: ", ["outcome"]),
    "in another's name": (tampered(worker_id="provider-worker-2"), "may not account for another worker", None),
    "NUL in a name": (tampered(model="a\x00b"), "model: it should be a text", ["model"]),
    "NUL in a tag": (tampered(tags={"a": "\x00"}), "tags.a: it should be a text", ["tags"]),
    "number beyond the column": (tampered(latency_ms=HUGE), "latency_ms: it should be at most", ["latency_ms"]),
    "cost beyond the column": (
        tampered(token_usage={"input": 10**18, "output": 9 * 10**18}),
        "token_usage: it cannot be right",
        ["token_usage"],
    ),
    "count beyond the column": (
        tampered(token_usage={"input": HUGE}),
        "token_usage.input: it should be at most",
        ["token_usage"],
    ),
    "implausible time": (
        tampered(started_at="2345-12-31T23:59:59Z"),
        "started_at: it cannot be right",
        ["started_at"],
    ),
    "key too long for an index": (
        tampered(request_id=secrets.token_hex(20_000)),
        "request_id: it should",
        ["request_id"],
    ),
}
"""Lines with the reason of their rejection, and the fields without which the attempt is recorded all the same, if it is."""


def seq_of(line: bytes) -> int | None:
    try:
        return int(json.loads(line)["spool_seq"])
    except ValueError:
        return None


async def test_an_invalid_record_is_rejected_alone(servers: LedgerServers) -> None:
    good: list[AttemptRecord] = []
    async with servers.in_process(), servers.worker() as worker:
        for name, (line, detail, unkept) in BAD_LINES.items():
            fresh = [attempt_record() for _ in range(40)]
            good += fresh
            lines = [record.encode() for record in fresh]
            await worker.publish([*lines[:13], line, *lines[13:]])
            await worker.until_confirmed(fresh)
            if (seq := seq_of(line)) is not None:
                await eventually(f"{name}: it is confirmed, too", partial(is_confirmed, worker, seq))
            letter = (await servers.dead_letters())[-1]
            assert detail in letter.message, name
            assert (letter.original, letter.producer, letter.stream) == (line, WORKER, "ATTEMPTS"), name
            assert unkept_of(servers, line) == unkept, name
        assert len(await servers.dead_letters()) == len(BAD_LINES)
        kept = [json.loads(line)["attempt_id"] for line, _, unkept in BAD_LINES.values() if unkept is not None]
        assert servers.recorded() == sorted([*(record.attempt_id for record in good), *kept])


def unkept_of(servers: LedgerServers, line: bytes) -> list[str] | None:
    """The fields that are marked as not kept; None if there is no row."""
    rows = servers.query("SELECT attempt_id, unkept FROM usage_ledger.attempts WHERE unkept <> '[]'")
    return next((unkept for attempt_id, unkept in rows if str(attempt_id).encode() in line), None)


def is_confirmed(worker: Worker, seq: int) -> bool:
    return seq in worker.confirmed["spl_1"]


async def test_many_invalid_records_in_one_batch(servers: LedgerServers) -> None:
    good = [attempt_record() for _ in range(300)]
    bad = [line for line, _, _ in BAD_LINES.values()]
    async with servers.worker() as worker:
        for at in range(0, 300, 10):
            await worker.publish([*(record.encode() for record in good[at : at + 10]), bad[at // 10 % len(bad)]])
        async with servers.in_process():
            await worker.until_confirmed(good)
            assert {record.attempt_id for record in good} <= set(servers.recorded())
            letters = await servers.dead_letters()
            assert sorted(letter.original for letter in letters) == sorted(bad)


async def test_an_unreadable_batch_is_rejected_whole_and_holds_up_nothing(servers: LedgerServers) -> None:
    record = attempt_record()
    async with servers.in_process() as service, servers.worker() as worker:
        await worker.send(b"\x00 no batch")
        await worker.publish([record.encode()])
        await worker.until_confirmed([record])
        letters = await servers.dead_letters()
        assert [(letter.original, letter.message) for letter in letters] == [
            (b"\x00 no batch", "BatchHead: the head line has no end")
        ]
        assert service.facts()["dead_letters"] == "1"


async def test_only_stored_records_and_dead_letters_are_confirmed(servers: LedgerServers) -> None:
    """While the stream of dead letters is full the batch waits; it is stored once there is space."""
    record = attempt_record()
    line = tampered(outcome="exploded")
    await limit_dead_letters(servers, max_bytes=1)
    async with servers.in_process(), servers.worker() as worker:
        await worker.publish([record.encode(), line])
        await eventually("the good one is stored", servers.recorded)
        assert worker.confirmed == {}
        await limit_dead_letters(servers, max_bytes=-1)
        await worker.until_confirmed([record])
        await eventually("the invalid one is confirmed", lambda: seq_of(line) in worker.confirmed["spl_1"])
        letters: list[DeadLetter] = await servers.dead_letters()
        assert [letter.original for letter in letters] == [line]
        assert servers.recorded() == sorted([record.attempt_id, json.loads(line)["attempt_id"]])


async def limit_dead_letters(servers: LedgerServers, max_bytes: int) -> None:
    """Limit the stream of dead letters to `max_bytes`; -1 removes the limit."""
    async with servers.installation.client(Role.PROVISIONER) as client:
        config = (await client.jetstream().stream_info("DEAD_LETTERS")).config
        await client.jetstream().update_stream(config, max_bytes=max_bytes)


async def test_an_invalid_decision_is_rejected_alone(servers: LedgerServers) -> None:
    good = [decision_record() for _ in range(5)]
    late = decision_record(decided_at=datetime(2345, 12, 31, tzinfo=UTC))
    async with servers.in_process() as service:
        await servers.decide([b"{}", *(record.encode() for record in good), late.encode()])
        await eventually("both are in the dead letters", lambda: service.facts()["dead_letters"] == "2")
        assert {letter.original for letter in await servers.dead_letters()} == {b"{}", late.encode()}
        held = {row[0] for row in servers.query("SELECT decision_id FROM usage_ledger.decisions")}
        assert held == {record.decision_id for record in good}


async def test_attempts_of_unknown_usage_are_stored_without_a_cost(servers: LedgerServers) -> None:
    died: AttemptRecord = attempt_record(outcome=Outcome.INDETERMINATE, usage_source=UsageSource.NONE, token_usage={})
    async with servers.in_process(), servers.worker() as worker:
        await worker.publish([died.encode()])
        await worker.until_confirmed([died])
        (row,) = servers.attempts()
        assert (row["pricing"], row["cost_usd"], row["price_version"]) == ("unpriced", None, None)


async def test_an_operator_hears_of_dead_letters_and_discards_what_was_seen(servers: LedgerServers) -> None:
    lines = [tampered(outcome="exploded"), b"}{ \x00\xff", tampered(tags={"a": "\x00"})]
    async with servers.in_process() as service, servers.worker() as worker, servers.operator() as operator:
        assert service.degraded() == []
        for line in lines:
            await worker.publish([line])
            await worker.publish([line])  # once more, as after a failure
        await eventually("all are counted once", lambda: service.facts()["dead_letters"] == "3")
        assert service.ready
        (report,) = await reports(operator, 1)
        (degraded,) = report.degraded
        assert degraded.startswith("3 records are dead letters: `keyferry dead-letters list`")

        page = await operator.ask(DEAD_LETTER_LIST, ListDeadLetters(), timeout_seconds=5)
        assert (page.total, [entry.original for entry in page.entries]) == (
            3,
            [lines[0].decode(), "}{ \ufffd\ufffd", lines[2].decode()],
        )
        first, _, last = page.entries
        assert (first.producer, first.stream, first.size_bytes) == (WORKER, "ATTEMPTS", len(lines[0]))
        assert "outcome: " in first.reason
        rest = await operator.ask(DEAD_LETTER_LIST, ListDeadLetters(after=first.number), timeout_seconds=5)
        assert rest.entries == page.entries[1:]

        up_to_first = DiscardDeadLetters(up_to=first.number)
        assert await operator.ask(DEAD_LETTER_DISCARD, up_to_first, timeout_seconds=5) == Discarded(discarded=1, left=2)
        with pytest.raises(Refused, match="there is no dead letter up to number") as refused:
            await operator.ask(DEAD_LETTER_DISCARD, up_to_first, timeout_seconds=5)
        assert refused.value.refusal.code is ErrorCode.NOT_FOUND
        up_to_last = DiscardDeadLetters(up_to=last.number, actor="console:operator")
        assert await operator.ask(DEAD_LETTER_DISCARD, up_to_last, timeout_seconds=5) == Discarded(discarded=2, left=0)
        assert service.degraded() == []
        assert (await operator.ask(DEAD_LETTER_LIST, ListDeadLetters(), timeout_seconds=5)).entries == []

        audit = await operator.ask(AUDIT_LIST, ListAudit(tenant=PLATFORM_TENANT), timeout_seconds=5)
        assert [
            (each.event.action, each.event.actor, each.event.sequence, each.event.details) for each in audit.entries
        ] == [
            ("dead_letter.discard", "console:operator", 2, {"up_to": str(last.number)}),
            ("dead_letter.discard", "operator", 1, {"up_to": str(first.number)}),
        ]
        assert (await operator.ask(AUDIT_VERIFY, VerifyAudit(), timeout_seconds=5)).faults == []


async def test_dead_letters_of_an_earlier_process_are_counted(servers: LedgerServers) -> None:
    async with servers.in_process() as service, servers.worker() as worker:
        await worker.publish([b"}{"])
        await eventually("it is stored", lambda: service.facts()["dead_letters"] == "1")
    async with servers.in_process() as service:
        await eventually("it is counted", lambda: service.facts()["dead_letters"] == "1")
