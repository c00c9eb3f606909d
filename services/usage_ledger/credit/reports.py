"""The watermarks that workers report in the heads of their batches. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts.credit import RETIRED_UNIX_MS
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.usage import BatchHead
from services.usage_ledger.credit.rules import bounded

STILL_REPORTS = timedelta(minutes=1)
"""A worker whose last report is no older is alive: it reports each few seconds."""
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


@dataclass(frozen=True, slots=True)
class SpoolReport:
    """The newest watermark of a spool, and when it was recorded."""

    worker: str
    spool_id: str
    settled_until_ms: int
    seen_at: datetime


def find_replaced(spools: Iterable[SpoolReport], now: datetime) -> dict[tuple[str, str], str]:
    """Return the spools that report nothing any more while their workers report from another one, with the id of that one.

    A slot has one directory: so the earlier one was emptied or lost, or the worker starts without its disk. Only its operator
    knows which, and whether it comes back with the records in it.
    """
    silent: list[SpoolReport] = []
    reporting: dict[str, SpoolReport] = {}
    for one in sorted(spools, key=lambda each: each.seen_at):
        if now - one.seen_at <= STILL_REPORTS:
            reporting[one.worker] = one
        elif one.settled_until_ms != RETIRED_UNIX_MS:
            silent.append(one)
    return {(one.worker, one.spool_id): reporting[one.worker].spool_id for one in silent if one.worker in reporting}


def describe_replaced(worker: str, spool_id: str, by: str) -> str:
    """Return what an operator has to know of a spool that another one has replaced."""
    return (
        f"{worker} reports from the spool {by} and no more from {spool_id or 'an earlier one'}, whose last records are missing:"
        f" no lease that ended since then is released unless all of it is accounted for. Start the worker with its spool again;"
        f" if that is gone: `{lost_command(worker, spool_id)}`"
    )


def lost_command(worker: str, spool_id: str) -> str:
    """Return the command that gives up the records of a spool."""
    return f"keyferry credits declare-lost {worker}" + (f" --spool {spool_id}" if spool_id else "")


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
