"""The rule of release that the ledger has, and wrong ones: each returns the moment before which leases must have ended."""

from collections.abc import Callable

from keyferry.contracts.credit import SKEW_MS
from services.usage_ledger.credit.rules import Watermark, passed_until_ms, released_until_ms
from tests.simulation.credit.ledger_process import Ledger
from tests.simulation.credit.worker_process import LONGEST_CALL_MS

ReleaseRule = Callable[[Ledger], int]


def past_every_watermark(ledger: Ledger) -> int:
    """Rule D, which is the ledger's."""
    return released_until_ms(ledger.watermarks, ledger.marks, ledger.processed)


def at_the_end(ledger: Ledger) -> int:
    """Rule A: as soon as the lease has ended."""
    return ledger.clock_ms


def after_the_longest_call(ledger: Ledger) -> int:
    """Rule B: and the longest attempt has."""
    return ledger.clock_ms - LONGEST_CALL_MS


def after_the_longest_call_and_the_stream(ledger: Ledger) -> int:
    """Rule C: and everything is processed that the stream has."""
    return min(after_the_longest_call(ledger), passed_until_ms(ledger.marks, ledger.processed)) - SKEW_MS


def past_watermarks_not_processed(ledger: Ledger) -> int:
    """Rule D, counting watermarks whose messages, or those before them, are not processed yet."""
    return released_until_ms(ledger.watermarks, ledger.marks, len(ledger.stream))


def past_the_highest_watermark(ledger: Ledger) -> int:
    """Rule D, with one worker in place of every worker."""
    best: list[Watermark] = max(ledger.watermarks.values(), key=lambda one: one[-1].settled_until_ms, default=[])
    return released_until_ms({"any": best} if best else {}, ledger.marks, ledger.processed)


WRONG_RULES: tuple[ReleaseRule, ...] = (
    at_the_end,
    after_the_longest_call,
    after_the_longest_call_and_the_stream,
    past_watermarks_not_processed,
    past_the_highest_watermark,
)
