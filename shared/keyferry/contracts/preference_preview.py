"""What preferences would change before they are saved: which models remain, and what becomes of past requests. Pure."""

from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import Operation, TenantId
from keyferry.contracts.preferences import GivenPreferences, ScopedCommand
from keyferry.contracts.text import Count, Explanation, Line

MAX_LISTED_MODELS = 200
MAX_DAYS = 90


class PreviewPreferences(ScopedCommand):
    """Request what would change if these were all preferences of one scope. Nothing is saved or sent."""

    preferences: GivenPreferences
    days: Annotated[int, Field(ge=1, le=MAX_DAYS)] = 30
    """A sample of the requests of so many days is planned again."""


class PreviewedOperation(Message):
    """What would become of the requests of one operation. Each request counts once in each of the figures that apply."""

    operation: Operation | None = None
    requests: Count
    """Of the sample."""
    first_choice_changed: Count = 0
    """Requests that another model or place would answer first."""
    fallback_lost: Count = 0
    """Requests that have others to go on to now, and would have none."""
    refused: Count = 0
    """Requests that are planned now and would be refused."""
    before: Line | None = None
    """The most frequent first choice now: `provider/model`."""
    after: Line | None = None
    """The most frequent first choice then; null if most would be refused."""
    reason: Explanation | None = None
    """Why the refused ones would be, for most of them."""


class PreferencesPreview(Message):
    """What would change."""

    tenant: TenantId
    models_before: Count
    """Models that the scope's requests can call now."""
    models_after: Count
    """Models that they could call then."""
    lost_models: list[Line] = Field(default_factory=list)
    """Some of those that they could not call any more."""
    sampled: Count
    """Requests of the last days that were planned again; 0 if the ledger has none, or does not answer."""
    operations: list[PreviewedOperation] = Field(default_factory=list)
    """Most requests first; those for which nothing would change are among them."""
