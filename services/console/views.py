"""What goes out: pages, the providers that keys can be stored for, and BYOK statistics. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from keyferry.contracts.audit import AuditEntry
from keyferry.contracts.key import USABLE, KeyStatus, ProviderKey
from keyferry.contracts.money import Usd
from keyferry.contracts.providers import PROVIDERS, ProviderFacts
from keyferry.contracts.route import Model

EXPIRING_WITHIN = timedelta(days=14)


class View(BaseModel):
    """Something that is shown."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class ProviderKeyPage(View):
    """A tenant's keys, in the order in which they are used. `next` is null on the last page."""

    data: list[ProviderKey]
    next: str | None


class ModelPage(View):
    """What a tenant can call. `next` is null on the last page."""

    data: list[Model]
    next: str | None


class AuditPage(View):
    """A tenant's audit, newest first. `next` is null on the last page."""

    data: list[AuditEntry]
    next: str | None


class ProviderField(View):
    """Something that is no secret and that calls with a key need."""

    name: str
    description: str
    example: str
    pattern: str
    """A regular expression that the whole value fits."""
    required: bool


class Provider(View):
    """A provider whose keys can be stored."""

    name: str
    title: str
    base_url: str | None
    """Where its API is. A name in braces is one of `fields`; null where whoever adds a key has to give it."""
    key_url: str | None
    """Where to get a key."""
    docs_url: str | None
    key_prefixes: list[str]
    """What its keys start with; empty where no format can be trusted."""
    key_description: str
    key_optional: bool
    """Whether calls work without a key."""
    fields: list[ProviderField]
    test_model: str | None
    """What the last step of a key's test calls."""


class ProviderPage(View):
    """Providers, in the order in which they are shown. `next` is null on the last page."""

    data: list[Provider]
    next: str | None


class ProviderKeyCount(View):
    """A tenant's keys of one provider."""

    provider: str
    keys: int
    usable: int
    spent_usd: Usd
    """This calendar month (UTC), as far as prices are known."""


class ProviderKeySummary(View):
    """A tenant's keys in figures."""

    keys: int
    usable: int
    """How many may pay for a call now."""
    by_status: dict[KeyStatus, int]
    by_provider: list[ProviderKeyCount]
    spent_usd: Usd
    """This calendar month (UTC), as far as prices are known."""
    over_limit: int
    """Whose monthly limit is spent."""
    expiring_soon: int
    """Whose date comes within fourteen days."""
    rotation_due: int
    """Whose secret is older than the operator wants."""
    credit_low: int
    """With less credit left than the operator wants."""
    last_used_at: datetime | None


def provider(facts: ProviderFacts) -> Provider:
    """What people see of a provider."""
    fields = [
        ProviderField(
            name=field.name,
            description=field.detail,
            example=field.example,
            pattern=field.pattern,
            required=field.required,
        )
        for field in facts.fields
    ]
    return Provider(
        name=facts.name,
        title=facts.title,
        base_url=facts.base_url,
        key_url=facts.key_url or None,
        docs_url=facts.docs_url or None,
        key_prefixes=list(facts.prefixes),
        key_description=facts.key_words,
        key_optional=facts.key_optional,
        fields=fields,
        test_model=facts.test_model,
    )


def providers() -> list[Provider]:
    """Every provider whose keys can be stored."""
    return [provider(facts) for facts in PROVIDERS.values()]


def summary(keys: Sequence[ProviderKey], now: datetime) -> ProviderKeySummary:
    """The keys of one tenant in figures, as of `now` (UTC)."""
    by_provider = [
        ProviderKeyCount(provider=name, keys=len(own), usable=_usable(own), spent_usd=_spent(own))
        for name in sorted({key.provider for key in keys})
        if (own := [key for key in keys if key.provider == name])
    ]
    expiring = [key.expires_at for key in keys if key.status is not KeyStatus.EXPIRED and key.expires_at is not None]
    return ProviderKeySummary(
        keys=len(keys),
        usable=_usable(keys),
        by_status=dict(Counter(key.status for key in keys)),
        by_provider=by_provider,
        spent_usd=_spent(keys),
        over_limit=sum(key.over_limit for key in keys),
        expiring_soon=sum(expires_at <= now + EXPIRING_WITHIN for expires_at in expiring),
        rotation_due=sum(key.rotation_due for key in keys),
        credit_low=sum(key.credit_low for key in keys),
        last_used_at=max((key.last_used_at for key in keys if key.last_used_at is not None), default=None),
    )


def _usable(keys: Iterable[ProviderKey]) -> int:
    return sum(key.status in USABLE and not key.over_limit for key in keys)


def _spent(keys: Iterable[ProviderKey]) -> Decimal:
    return sum((key.spent_usd for key in keys if key.spent_usd is not None), Decimal(0))
