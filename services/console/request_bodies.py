"""Queries and answers about the request log. Pure."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from keyferry.contracts.analytics import ZoneName
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import KeyId, Operation, ProviderName, Reference
from keyferry.contracts.request_cursor import InvalidCursor, decode_cursor
from keyferry.contracts.request_log import (
    MAX_PAGE,
    CostArithmetic,
    Cursor,
    IdPrefix,
    ListRequests,
    LoggedRequest,
    RequestCount,
    RequestOutcome,
    SearchText,
)
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.text import BIGINT_MAX, Identifier, Line, Refusing
from keyferry.contracts.usage import KeySource, LedgerRow
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.bodies import IN_DIGITS, MomentInUtc, MonthlyLimit, QueryParameters
from services.console.decision_steps import ExplainedDecision
from services.console.request_timeline import TimelineStep
from services.console.views import View

_TAG_PATTERN = r"^[A-Za-z0-9_.-]+(=.*)?$"
GivenTag = Annotated[str, Refusing(321, pattern=_TAG_PATTERN, form="NAME or NAME=VALUE")]
_RENAMED = {"client_token": "client_token_id"}


class RequestRecords(View):
    """What the ledger has of one request so far."""

    request_id: str
    request: LoggedRequest | None
    """Its entry in the request log."""
    decisions: list[DecisionRecord]
    """What the router knew and chose: first for the request, then after each failed attempt."""
    attempts: list[LedgerRow]
    """The provider calls, with their cost."""
    arithmetic: list[CostArithmetic]
    """How cost and charge of each attempt come about, in the same order."""
    timeline: list[TimelineStep]
    """Where its time went, as far as it is recorded."""
    explained: list[ExplainedDecision]
    """Each decision as steps in words, in the order of `decisions`."""


class RequestQuery(QueryParameters):
    """Which requests: those with an attempt that satisfies everything given."""

    since: MomentInUtc | None = None
    """Inclusive; UTC without a zone."""
    until: MomentInUtc | None = None
    """Exclusive; UTC without a zone."""
    outcome: RequestOutcome | None = None
    """How the request ended."""
    error_class: FailureClass | None = None
    provider: ProviderName | None = None
    """A provider, or the name of the tenant's own server."""
    model: Line | None = None
    """The model that was asked for, called or served."""
    operation: Operation | None = None
    level: PowerLevel | None = None
    key_source: KeySource | None = None
    key_id: KeyId | None = None
    client_token: Identifier | None = None
    """The id of a client token."""
    team: Reference | None = None
    member: Reference | None = None
    tag: GivenTag | None = None
    """`NAME=VALUE`, or `NAME` for any value."""
    min_cost_usd: MonthlyLimit = None
    """Of one attempt."""
    min_latency_ms: Annotated[int, Field(ge=0, le=BIGINT_MAX), IN_DIGITS] | None = None
    """Of one attempt."""
    id: IdPrefix | None = None
    """The id of a request, an attempt, a decision or a trace, or the beginning of one."""
    text: SearchText | None = None
    """Whole words of the failure's message."""

    def to_command(self, tenant: str, **paging: object) -> ListRequests:
        """Return the ledger's query. Raises HttpProblem 400 for a cursor that is of another query, 422 for an empty span."""
        given: dict[str, Any] = {
            _RENAMED.get(name, name): value
            for name in RequestQuery.model_fields.keys() - {"tag", "since", "until"}
            if (value := getattr(self, name)) is not None
        }
        name, equals, value = (self.tag or "").partition("=")
        given |= {"tag_name": name or None, "tag_value": value if equals else None}
        since, until = self.since, self.until
        if since is not None and until is not None and since >= until:
            message = "until: it must be later than `since`: the first is excluded, the second not"
            raise HttpProblem(422, INVALID_REQUEST, "invalid_value", message, param="until")
        _check_search(self)
        command = ListRequests.model_validate({"tenant": tenant, "since": since, "until": until, **given, **paging})
        if command.after is not None:
            try:
                decode_cursor(command.after, command)
            except InvalidCursor as error:
                raise HttpProblem(400, INVALID_REQUEST, "invalid_cursor", f"after: {error}", param="after") from None
        return command


class RequestListQuery(RequestQuery):
    """Which requests, and which page of them."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE), IN_DIGITS] = 50
    after: Cursor | None = None
    """The `next` of the page before, with the same filters."""
    count: Literal["true"] | None = None
    """Count the requests as well, up to 10 000."""


class RequestExportQuery(RequestQuery):
    """Which requests to export, and how."""

    format: Literal["csv", "jsonl"] = "csv"
    tz: ZoneName = "UTC"
    """The zone whose offset times are written with."""


class RequestLogPage(View):
    """Requests with their attempts, newest first. A page can be short although `next` is set; `next` is null on the last."""

    data: list[LoggedRequest]
    next: str | None
    as_of: datetime
    """The pages that follow have only what was recorded until then."""
    tz: Literal["UTC"] = "UTC"
    total: RequestCount | None = None
    """Only if it was asked for."""


def _check_search(query: RequestQuery) -> None:
    if query.text is not None and not any(character.isalnum() for character in query.text):
        message = "text: a text to look for needs a letter or a digit"
        raise HttpProblem(422, INVALID_REQUEST, "invalid_value", message, param="text")
