"""How long to wait before a crashed process is started again."""

FIRST_SECONDS = 0.4
LONGEST_SECONDS = 10.0
FORGIVEN_AFTER_SECONDS = 30.0
"""A process that lived this long starts with a clean sheet."""


class BackOff:
    """Doubles from FIRST_SECONDS to LONGEST_SECONDS with each crash in a row."""

    def __init__(self) -> None:
        self._crashes = 0

    def delay_seconds(self, lived_seconds: float) -> float:
        """The pause after a run of `lived_seconds` that ended by itself."""
        if lived_seconds >= FORGIVEN_AFTER_SECONDS:
            self._crashes = 0
        delay = min(FIRST_SECONDS * 2.0 ** min(self._crashes, 10), LONGEST_SECONDS)
        self._crashes += 1
        return delay
