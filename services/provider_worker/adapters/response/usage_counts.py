"""Reads providers' usage reports: which counts can be right, and the reports of a stream.

This is the one place that decides what a count may be. A count that cannot be right (negative, fractional, a boolean, more
than MAX_TOKENS) is not taken for zero: it is named, and the worker estimates what it leaves unknown.
"""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from keyferry.contracts.text import parse_digits
from services.provider_worker.adapters.response.json_text import JsonObject

MAX_TOKENS: Final = 10**9
"""A hundred times what the longest context windows and 128 choices of them hold. A larger count is a defect."""

MAX_UNEXPLAINED_TOKENS: Final = 10**6
"""How much more a total may be than the prompt and the completion that are reported with it: what models think without saying
how much. Several times what any writes in one answer; a larger total is a defect."""

_MAX_DIGITS = len(str(MAX_TOKENS))


class CountReader:
    """Reads the counts of one report, and keeps the names of those that cannot be right."""

    def __init__(self) -> None:
        self._implausible: dict[str, None] = {}

    @property
    def implausible(self) -> tuple[str, ...]:
        """The fields whose counts cannot be right, in the order in which they were read."""
        return tuple(self._implausible)

    def read(self, node: JsonObject, *names: str, inside: str = "") -> int | None:
        """Return the first plausible count under one of `names`, or null. `inside` names the object that `node` is in."""
        for name in names:
            value = node.get(name)
            if type(value) is int and 0 <= value <= MAX_TOKENS:  # nearly every count, and no boolean
                return value
            if value is None or value == "":
                continue
            count = token_count(value)
            if count is not None:
                return count
            self._implausible[f"{inside}.{name}" if inside else name] = None
        return None

    def check_total(self, name: str, total: int | None, known: int) -> int | None:
        """Return `total`, or null if it cannot be the sum of `known` tokens and others that are not reported."""
        if total is None or not known or total - known <= MAX_UNEXPLAINED_TOKENS:
            return total
        self._implausible[name] = None
        return None


def token_count(value: object) -> int | None:
    """Return `value` if it is a plausible number of tokens, else null.

    Some providers send whole numbers as floats or as texts.
    """
    if type(value) is int:
        return value if 0 <= value <= MAX_TOKENS else None
    if isinstance(value, float) and value.is_integer():
        return token_count(int(value))
    return token_count(parse_digits(value, max_digits=_MAX_DIGITS)) if isinstance(value, str) else None


Usage = TypeVar("Usage")
"""What an adapter makes of one report."""


class UsageTally(Generic[Usage]):
    """The usage of one stream. Reports are cumulative: they are never added up, and none takes anything away.

    `read` makes usage of a report (null: it holds none), `merge` one of two.
    """

    def __init__(self, read: Callable[[JsonObject], Usage | None], merge: Callable[[Usage, Usage], Usage]) -> None:
        self._read = read
        self._merge = merge
        self._merged: Usage | None = None
        self._last: JsonObject | None = None

    def take(self, report: object) -> None:
        """Take a report; anything but an object is ignored."""
        if not isinstance(report, dict):
            return
        # Some providers report with every piece, growing: only the last of those has to be read.
        if self._last is not None and not _extends(self._last, report):
            self.usage()
        self._last = report

    def usage(self) -> Usage | None:
        """Return the usage until now, or null if none was reported."""
        last = None if self._last is None else self._read(self._last)
        self._last = None
        if last is not None:
            self._merged = last if self._merged is None else self._merge(self._merged, last)
        return self._merged


def _extends(earlier: JsonObject, later: JsonObject, depth: int = 1) -> bool:
    """Return whether `later` says all that `earlier` says, with no number smaller."""
    for name, before in earlier.items():
        kind = type(before)
        if kind is int or kind is float:
            after = later.get(name)
            if type(after) not in _NUMBERS or after < before:  # type: ignore[operator]  # both are numbers
                return False
        elif isinstance(before, dict):
            details = later.get(name)
            if not isinstance(details, dict) or (depth and not _extends(before, details, depth - 1)):
                return False
    return True


_NUMBERS = (int, float)
