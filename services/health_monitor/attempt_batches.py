"""Decoding of record batches from the bus into observed attempts.

Malformed batches and records are skipped: the ledger reads the same stream and stores them in the dead letters.
"""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.usage import AttemptRecord
from keyferry.runtime.bus.publishing import split_batch
from services.health_monitor.evidence import ObservedAttempt, attempt_of

_log = logging.getLogger(__name__)


def decode_attempts(
    subject: str, data: bytes, *, stored_at: datetime, short_timeout: timedelta
) -> Iterator[ObservedAttempt]:
    """Yield the attempts of a batch that have a target. `stored_at` and `short_timeout` as in `evidence.attempt_of`.

    A worker may only report its own attempts: the subject, which the bus guards, has to agree with the record.
    """
    producer = subject.rpartition(".")[2]
    try:
        _, lines = split_batch(data)
    except MalformedMessage as error:
        _log.warning("skipped a malformed batch", extra={"producer": producer, "reason": str(error)})
        return
    for line in lines:
        try:
            record = AttemptRecord.decode(line)
        except MalformedMessage as error:
            _log.warning("skipped a malformed record", extra={"producer": producer, "reason": str(error)})
            continue
        attempt = (
            attempt_of(record, stored_at=stored_at, short_timeout=short_timeout)
            if record.worker_id == producer
            else None
        )
        if attempt is not None:
            yield attempt
