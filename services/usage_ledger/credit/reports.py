"""The watermarks that workers report in the heads of their batches. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.usage import BatchHead
from services.usage_ledger.credit.rules import bounded

_FIELD = b'"settled_until_unix_ms"'


@dataclass(frozen=True, slots=True)
class ReportedWatermark:
    """What a worker reported of one of its spools, and where in the stream."""

    worker: str
    """From the subject, which the bus guards."""
    spool_id: str
    position: int
    settled_until_ms: int


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """A message of the stream, and its position there."""

    subject: str
    data: bytes
    position: int


def reports(data: bytes) -> bool:
    """Return whether a batch may report a watermark, without decoding it."""
    return _FIELD in data[: data.find(b"\n") + 1 or len(data)]


def newest_watermarks(messages: Iterable[StreamMessage], now_ms: int) -> list[ReportedWatermark]:
    """Return the last watermark of each spool. Heads that cannot be read are left to the decoding of the records."""
    newest: dict[tuple[str, str], ReportedWatermark] = {}
    for message in messages:
        try:
            head = BatchHead.decode(message.data.partition(b"\n")[0])
        except MalformedMessage:
            continue
        if head.settled_until_unix_ms is None:
            continue
        worker = message.subject.rpartition(".")[2]
        found = ReportedWatermark(
            worker, head.spool_id or "", message.position, bounded(head.settled_until_unix_ms, now_ms)
        )
        known = newest.get((worker, found.spool_id))
        if known is None or known.position < found.position:
            newest[worker, found.spool_id] = found
    return list(newest.values())
