"""The ids of events, and from where a stream goes on. Pure."""

import re
from dataclasses import dataclass

from services.console.live_events.bodies import ResetReason

_FORM = re.compile(r"([0-9a-f]{1,16})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Start:
    """After which number a stream begins, and why it cannot begin where the reader asks; None if it can."""

    after: int
    resumed: bool = False
    lost: ResetReason | None = None


def format_id(incarnation: str, seq: int) -> str:
    """Return the id of an event: the log that it is in, and its number there."""
    return f"{incarnation}-{seq}"


def find_start(last_event_id: str | None, incarnation: str, first: int, last: int) -> Start:
    """Return where a stream goes on that has ended with an event; `first` and `last` are what the log has now."""
    if not last_event_id:
        return Start(last)
    found = _FORM.fullmatch(last_event_id)
    if found is None or found[1] != incarnation or int(found[2]) > last:
        return Start(last, lost=ResetReason.UNKNOWN_ID)
    if int(found[2]) + 1 < first:
        return Start(last, lost=ResetReason.TOO_OLD)
    return Start(int(found[2]), resumed=True)
