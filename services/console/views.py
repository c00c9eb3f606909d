"""Response bodies: pages and key statistics. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, PlainValidator, WithJsonSchema

from keyferry.contracts.feedback import RatedModel
from keyferry.contracts.internal_services import InternalService
from keyferry.contracts.key import USABLE, KeyStatus, ProviderKey
from keyferry.contracts.money import Usd, sum_known
from keyferry.contracts.route import Endpoint, Model
from keyferry.contracts.rule_management import RuleVersionSummary
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ServiceReport
from keyferry.contracts.tenancy import ClientToken, Tenant
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

T = TypeVar("T")

EXPIRING_WITHIN = timedelta(days=14)


class View(BaseModel):
    """A part of a response body."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ServiceReports(View):
    """The processes that have answered, by service and slot."""

    data: list[ServiceReport]


class ProviderKeyPage(View):
    """A tenant's keys, in the order in which they are used. `next` is null on the last page."""

    data: list[ProviderKey]
    next: str | None


class ModelPage(View):
    """The models that a tenant can call. `next` is null on the last page."""

    data: list[Model]
    next: str | None


class TenantPage(View):
    """All tenants. `next` is null on the last page."""

    data: list[Tenant]
    next: str | None


class ClientTokenPage(View):
    """A tenant's client tokens. `next` is null on the last page."""

    data: list[ClientToken]
    next: str | None


class InternalServicePage(View):
    """A tenant's internal services. `next` is null on the last page."""

    data: list[InternalService]
    next: str | None


def keep_secret(value: object) -> Secret:
    """Return a secret as it is. Raises ValueError for anything else: no response is made of text."""
    if not isinstance(value, Secret):
        raise ValueError("this is a secret")
    return value


class CreatedClientToken(ClientToken):
    """A new client token: its metadata and, only in this response, the token itself."""

    token: Annotated[
        Secret,
        PlainValidator(keep_secret),
        PlainSerializer(Secret.reveal, return_type=str, when_used="json"),
        WithJsonSchema({"type": "string", "readOnly": True, "examples": ["kf_live_…"]}),
    ]
    """Save it now: it is not shown again and cannot be recovered, only revoked."""
    unknown_models: list[str] = Field(default_factory=list)
    """Of `allowed_models`, those that lead to no model of the tenant now."""


class EndpointPage(View):
    """A tenant's endpoints. `next` is null on the last page."""

    data: list[Endpoint]
    next: str | None


class RatingPage(View):
    """A page of the sums of a tenant's ratings. `next` is null on the last page."""

    data: list[RatedModel]
    next: str | None


class RuleVersionPage(View):
    """Versions of a tenant's routing rules, newest first. `next` is null on the last page."""

    data: list[RuleVersionSummary]
    next: str | None
    published: int
    """The number of the published version; 0 if nothing was published."""


class ProviderKeyCount(View):
    """Statistics of a tenant's keys for one provider."""

    provider: str
    keys: int
    usable: int
    spent_usd: Usd | None
    """The known costs of this calendar month (UTC); null if there were calls and no cost is known."""
    unpriced: int
    """Calls of this month whose cost is unknown; they are not in `spent_usd`."""


class ProviderKeySummary(View):
    """Statistics of a tenant's keys."""

    keys: int
    usable: int
    """How many can be used for a call now."""
    by_status: dict[KeyStatus, int]
    by_provider: list[ProviderKeyCount]
    spent_usd: Usd | None
    """The known costs of this calendar month (UTC); null if there were calls and no cost is known."""
    unpriced: int
    """Calls of this month whose cost is unknown; they are not in `spent_usd`."""
    over_limit: int
    """How many have used up their monthly limit."""
    expiring_soon: int
    """How many expire within 14 days."""
    rotation_due: int
    """How many have a secret older than the operator's limit."""
    credit_low: int
    """How many have less credit left than the operator's threshold."""
    last_used_at: datetime | None


def summarize_keys(keys: Sequence[ProviderKey], now: datetime) -> ProviderKeySummary:
    """Return the statistics of one tenant's keys as of `now` (UTC)."""
    by_provider = [
        ProviderKeyCount(
            provider=name,
            keys=len(own),
            usable=_count_usable(own),
            spent_usd=_sum_spent(own),
            unpriced=_count_unpriced(own),
        )
        for name in sorted({key.provider for key in keys})
        if (own := [key for key in keys if key.provider == name])
    ]
    expiring = [key.expires_at for key in keys if key.status is not KeyStatus.EXPIRED and key.expires_at is not None]
    return ProviderKeySummary(
        keys=len(keys),
        usable=_count_usable(keys),
        by_status=dict(Counter(key.status for key in keys)),
        by_provider=by_provider,
        spent_usd=_sum_spent(keys),
        unpriced=_count_unpriced(keys),
        over_limit=sum(key.over_limit for key in keys),
        expiring_soon=sum(expires_at <= now + EXPIRING_WITHIN for expires_at in expiring),
        rotation_due=sum(key.rotation_due for key in keys),
        credit_low=sum(key.credit_low for key in keys),
        last_used_at=max((key.last_used_at for key in keys if key.last_used_at is not None), default=None),
    )


def _count_usable(keys: Iterable[ProviderKey]) -> int:
    return sum(key.status in USABLE and not key.over_limit for key in keys)


def _sum_spent(keys: Iterable[ProviderKey]) -> Decimal | None:
    """Return the known spending; None if there is only unknown spending. A key without calls has spent nothing."""
    used = (key for key in keys if key.spent_usd is not None or key.unpriced)
    return sum_known(key.spent_usd for key in used)


def _count_unpriced(keys: Iterable[ProviderKey]) -> int:
    return sum(key.unpriced for key in keys)


def paginate(items: Sequence[T], name: Callable[[T], str], limit: int, after: str | None) -> tuple[list[T], str | None]:
    """Return at most `limit` items after the one called `after`, and the cursor of the next page; null at the end.

    Raises HttpProblem 400 if no item is called `after` any more.
    """
    start = 0
    if after is not None:
        positions = [position for position, item in enumerate(items) if name(item) == after]
        if not positions:
            raise gone_cursor()
        start = positions[0] + 1
    taken = list(items[start : start + limit])
    return taken, name(taken[-1]) if taken and start + limit < len(items) else None


def gone_cursor() -> HttpProblem:
    """Return the refusal of a cursor whose item is in the list no more."""
    message = "the list has changed and no longer contains `after`: start from the beginning"
    return HttpProblem(400, INVALID_REQUEST, "invalid_cursor", message, param="after")
