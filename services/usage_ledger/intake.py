"""Takes packs apart into records that fit their contract, and what does not.

One bad record must not keep its pack from the tables, and a worker may only account for what it did itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

import orjson

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.topology import ATTEMPT_FINISHED, REQUEST_DECIDED, AnySubject
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.bus.publishing import records_of
from services.usage_ledger.dead_letter import Rejected

R = TypeVar("R", AttemptRecord, DecisionRecord)

Arrival = tuple[str, bytes]
"""Subject and data of a message."""


@dataclass(frozen=True, slots=True)
class Received(Generic[R]):
    """A record, the line it came as, and where from."""

    record: R
    line: bytes
    producer: str
    """By the subject, which the bus guards; a record's own word is not proof."""
    spool_id: str | None


@dataclass(slots=True)
class Intake(Generic[R]):
    """What some packs held."""

    received: list[Received[R]] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)


def attempts_of(arrivals: Iterable[Arrival]) -> Intake[AttemptRecord]:
    """The attempts in packs from workers."""
    intake = Intake[AttemptRecord]()
    for producer, spool_id, line in _lines(ATTEMPT_FINISHED, arrivals, intake.rejected):
        try:
            record = AttemptRecord.decode(line)
        except MalformedMessage as error:
            intake.rejected.append(_rejected(ATTEMPT_FINISHED, line, str(error), producer, spool_id))
            continue
        if record.worker_id != producer:
            reason = f"AttemptRecord: worker_id: {producer} may not account for another worker"
            intake.rejected.append(_rejected(ATTEMPT_FINISHED, line, reason, producer, spool_id))
            continue
        if record.started_at.tzinfo is None:
            record = record.model_copy(update={"started_at": zoned(record.started_at)})
        intake.received.append(Received(record, line, producer, spool_id))
    return intake


def decisions_of(arrivals: Iterable[Arrival]) -> Intake[DecisionRecord]:
    """The decisions in packs from routers."""
    intake = Intake[DecisionRecord]()
    for producer, spool_id, line in _lines(REQUEST_DECIDED, arrivals, intake.rejected):
        try:
            record = DecisionRecord.decode(line)
        except MalformedMessage as error:
            intake.rejected.append(_rejected(REQUEST_DECIDED, line, str(error), producer, spool_id))
            continue
        if record.decided_at.tzinfo is None:
            record = record.model_copy(update={"decided_at": zoned(record.decided_at)})
        intake.received.append(Received(record, line, producer, spool_id))
    return intake


def refused(received: Received[R], reason: str, subject: AnySubject) -> Rejected:
    """A record that fits its contract, and that the tables do not take."""
    return _rejected(subject, received.line, reason, received.producer, received.spool_id)


def zoned(moment: datetime) -> datetime:
    """The moment with its zone; a time without one is in UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _lines(
    subject: AnySubject, arrivals: Iterable[Arrival], rejected: list[Rejected]
) -> Iterator[tuple[str, str | None, bytes]]:
    """Producer, spool and line of every record; packs that cannot be read go to `rejected` whole."""
    for name, data in arrivals:
        producer = name.rpartition(".")[2]
        try:
            head, lines = records_of(data)
        except MalformedMessage as error:
            rejected.append(_rejected(subject, data, str(error), producer, None))
            continue
        for line in lines:
            yield producer, head.spool_id, line


def _rejected(subject: AnySubject, original: bytes, reason: str, producer: str, spool_id: str | None) -> Rejected:
    return Rejected(
        original=original,
        reason=reason,
        producer=producer,
        stream=subject.stream or subject.name,
        spool_id=spool_id,
        spool_seq=_spool_seq(original) if spool_id else None,
    )


def _spool_seq(line: bytes) -> int | None:
    """The number that a bad record has in its producer's spool, where it can be read."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    seq = document.get("spool_seq") if isinstance(document, dict) else None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) and seq >= 1 else None
