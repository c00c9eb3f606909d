"""What a provider's usage API is to the one that calls it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from services.billing.provider_usage.stated_usage import StatedUsage

ReadPage = Callable[[Mapping[str, Any]], list[StatedUsage]]
"""Returns what a page says. Raises UnreadableUsage."""


@dataclass(frozen=True, slots=True)
class UsageCall:
    """One list to read, page by page: its path with a query, and how a page is read."""

    path: str
    read: ReadPage
    page_parameter: str | None = "page"
    """The name of the parameter with the cursor; None for a list of one page."""


@dataclass(frozen=True, slots=True)
class UsageSpan:
    """Which days are asked for, both included, and of which key by the provider's own id; None for all keys."""

    since: date
    until: date
    provider_key: str | None = None

    @property
    def end(self) -> date:
        """The day after the last one."""
        return self.until + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class UsageApi:
    """The usage API of one provider."""

    provider: str
    key_header: str
    key_prefix: str
    """What precedes the key in the header."""
    headers: Mapping[str, str]
    list_calls: Callable[[UsageSpan], Sequence[UsageCall]]
    settle_days: int = 1
    """How long after its end a day may still change."""
    most_days_back: int | None = None
    """The oldest day that it has, counted back from today; None if it has all."""
    permission: str = ""
    """What the key must be allowed to do, for the message when it is not."""


def next_cursor(answer: Mapping[str, Any]) -> str | None:
    """Return the cursor of the page that follows; None after the last one."""
    cursor = answer.get("next_page")
    return cursor if answer.get("has_more") is True and isinstance(cursor, str) and cursor else None
