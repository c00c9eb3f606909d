"""Decoding of record batches from the bus into valid records and rejected ones.

One invalid record must not keep the rest of its batch out of the tables, and a worker may only report its own attempts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

import orjson

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.reduced_record import correct_record, reduce_record
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED, AnySubject
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.bus.publishing import split_batch
from services.usage_ledger.dead_letter import RejectedRecord

R = TypeVar("R", AttemptRecord, DecisionRecord)

RawMessage = tuple[str, bytes]
"""Subject and data of a message."""


@dataclass(frozen=True, slots=True)
class DecodedRecord(Generic[R]):
    """A valid record with its original line and its producer."""

    record: R
    line: bytes
    producer: str
    """From the subject, which the bus guards; the record's own field proves nothing."""
    spool_id: str | None


@dataclass(slots=True)
class DecodedBatches(Generic[R]):
    """The records of some batches."""

    valid: list[DecodedRecord[R]] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)


def decode_attempts(messages: Iterable[RawMessage], now: datetime) -> DecodedBatches[AttemptRecord]:
    """Decode batches of attempts from workers.

    A rejected record that still says whose attempt it is also becomes a valid one, without the fields at fault. `now` stands for
    a start that cannot be read.
    """
    batches = DecodedBatches[AttemptRecord]()
    for producer, spool_id, line in _lines(ATTEMPT_FINISHED, messages, batches.rejected):
        try:
            record = AttemptRecord.decode(line)
        except MalformedMessage as error:
            batches.rejected.append(_rejected(ATTEMPT_FINISHED, line, str(error), producer, spool_id))
            reduced = _reduce(line, now)
            if reduced is None or reduced.worker_id != producer:
                continue
            record = reduced
        if record.worker_id != producer:
            reason = f"AttemptRecord: worker_id: {producer} may not account for another worker"
            batches.rejected.append(_rejected(ATTEMPT_FINISHED, line, reason, producer, spool_id))
            continue
        if record.started_at.tzinfo is None:
            record = record.model_copy(update={"started_at": assume_utc(record.started_at)})
        corrected = correct_record(record, now)
        if corrected is not record:
            fields = ", ".join(name for name in corrected.unkept if name not in record.unkept)
            reason = f"AttemptRecord: {fields}: it cannot be right"
            batches.rejected.append(_rejected(ATTEMPT_FINISHED, line, reason, producer, spool_id))
        batches.valid.append(DecodedRecord(corrected, line, producer, spool_id))
    return batches


def decode_decisions(messages: Iterable[RawMessage]) -> DecodedBatches[DecisionRecord]:
    """Decode batches of decisions from routers, and of refusals from workers."""
    batches = DecodedBatches[DecisionRecord]()
    for producer, spool_id, line in _lines(REQUEST_DECIDED, messages, batches.rejected):
        try:
            record = DecisionRecord.decode(line)
        except MalformedMessage as error:
            batches.rejected.append(_rejected(REQUEST_DECIDED, line, str(error), producer, spool_id))
            continue
        if record.router != producer:
            reason = f"DecisionRecord: router: {producer} may not decide for another process"
            batches.rejected.append(_rejected(REQUEST_DECIDED, line, reason, producer, spool_id))
            continue
        if record.decided_at.tzinfo is None:
            record = record.model_copy(update={"decided_at": assume_utc(record.decided_at)})
        batches.valid.append(DecodedRecord(record, line, producer, spool_id))
    return batches


def reject(decoded: DecodedRecord[R], reason: str, subject: AnySubject) -> RejectedRecord:
    """Reject a valid record that PostgreSQL does not accept."""
    return _rejected(subject, decoded.line, reason, decoded.producer, decoded.spool_id)


def assume_utc(moment: datetime) -> datetime:
    """Return `moment` with a time zone: UTC if it has none."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _lines(
    subject: AnySubject, messages: Iterable[RawMessage], rejected: list[RejectedRecord]
) -> Iterator[tuple[str, str | None, bytes]]:
    """Yield producer, spool and line of every record; append unreadable batches to `rejected` as a whole."""
    for name, data in messages:
        producer = name.rpartition(".")[2]
        try:
            head, lines = split_batch(data)
        except MalformedMessage as error:
            rejected.append(_rejected(subject, data, str(error), producer, None))
            continue
        for line in lines:
            yield producer, head.spool_id, line


def _rejected(subject: AnySubject, original: bytes, reason: str, producer: str, spool_id: str | None) -> RejectedRecord:
    return RejectedRecord(
        original=original,
        reason=reason,
        producer=producer,
        stream=subject.stream or subject.name,
        spool_id=spool_id,
        spool_seq=_spool_seq(original) if spool_id else None,
    )


def _reduce(line: bytes, now: datetime) -> AttemptRecord | None:
    document = _parse(line)
    return None if document is None else reduce_record(document, now)


def _parse(line: bytes) -> dict[str, object] | None:
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _spool_seq(line: bytes) -> int | None:
    """Return the sequence number of an invalid record in its producer's spool, if it can be read."""
    seq = (_parse(line) or {}).get("spool_seq")
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and 1 <= seq <= BIGINT_MAX else None
