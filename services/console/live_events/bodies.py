"""Parameters and JSON of the events. Pure."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field, RootModel

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.alert_rules import AlertSeverity
from keyferry.contracts.alerts import AlertState
from keyferry.contracts.ids import TenantId
from keyferry.contracts.key import KeyChange, KeyStatus
from keyferry.contracts.live_events import CommittedRequest, CreditAmounts
from keyferry.contracts.text import Refusing
from services.console.bodies import QueryParameters
from services.console.health_bodies import TargetHealth
from services.console.live_events.topics import Topic
from services.console.views import View

Topics = Annotated[str, Refusing(200)]
GivenEventId = Annotated[str, Refusing(100)]


class LiveQuery(QueryParameters):
    """Which events to send."""

    topics: Topics | None = None
    """Names with commas between them; null for all that the role may read."""
    last_event_id: GivenEventId | None = None
    """Go on after this event; the header `Last-Event-ID` wins."""


class OwnLiveQuery(LiveQuery):
    """Which events to send, and of which of the own tenants."""

    tenant: TenantId | None = None
    """Like the header `x-keyferry-tenant`, which a browser cannot send with an `EventSource`."""


class ResetReason(StrEnum):
    """Why events may be missing."""

    TOO_OLD = "too_old"
    UNKNOWN_ID = "unknown_id"
    OVERLOAD = "overload"
    SLOW_READER = "slow_reader"


class ClosingReason(StrEnum):
    """Why the server ends a stream."""

    DRAINING = "draining"
    SESSION_ENDED = "session_ended"
    ACCESS_CHANGED = "access_changed"


class ReadyEvent(View):
    """`ready`: what follows."""

    topics: list[Topic]
    tenant: str | None
    """Null for the installation."""
    role: AccessRole
    resumed: bool
    """Whether the events since `Last-Event-ID` follow."""


class ResetEvent(View):
    """`reset`: load everything again."""

    reason: ResetReason


class ClosingEvent(View):
    """`closing`: the stream ends."""

    reason: ClosingReason


class RequestsEvent(View):
    """`requests`: rows of the request log that were committed, oldest first."""

    requests: list[CommittedRequest]
    skipped: int
    """How many more were committed."""


class TenantRequestCount(View):
    """How many requests of a tenant were committed."""

    tenant: str
    count: int


class RequestCountsEvent(View):
    """`requests` of the installation."""

    requests: list[TenantRequestCount]
    count: int
    """Of all tenants."""


class HealthOutage(StrEnum):
    """What a change of health did to the use of a target."""

    BEGAN = "began"
    ENDED = "ended"


class HealthEvent(View):
    """`health`: a target has changed."""

    outage: HealthOutage | None
    """Whether it gets no attempts any more, or does again; null if neither."""
    health: TargetHealth


class KeyEvent(View):
    """`keys`: a provider key has changed."""

    key_id: str
    provider: str
    change: KeyChange
    status: KeyStatus
    detail: str
    at: datetime


class ChangeEvent(View):
    """`rules`, `tokens` and `members`: somebody has changed something."""

    action: str
    """As in the audit log."""
    target: str
    at: datetime


class DeadLettersEvent(View):
    """`dead_letters` of the installation."""

    count: int
    at: datetime


class AlertEvent(View):
    """`alerts`: an alert has fired, was acknowledged or is resolved."""

    alert_id: str
    rule_id: str
    state: AlertState
    severity: AlertSeverity
    title: str
    at: datetime


class LiveEventData(
    RootModel[
        Annotated[
            ReadyEvent
            | ResetEvent
            | ClosingEvent
            | RequestsEvent
            | RequestCountsEvent
            | CreditAmounts
            | HealthEvent
            | KeyEvent
            | ChangeEvent
            | DeadLettersEvent
            | AlertEvent,
            Field(union_mode="left_to_right"),
        ]
    ]
):
    """The JSON in `data` of an event, by the event's name."""
