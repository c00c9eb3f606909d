"""The tier file, parsed strictly, and what may be asked of it: limits, features, keys, and which tier to upgrade to. Pure."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from keyferry.contracts.envelope import describe
from keyferry.contracts.limits import UNLIMITED, LimitKind, Limits, LimitValue
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.tiers import Feature, TierFacts, TierTable

BUNDLED_TIERS = Path(__file__).parent / "tiers.toml"
"""The tier file that every service uses unless its settings name another."""
_MAX_KEYS = 10_000


class TierRow(BaseModel):
    """One tier, as the file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rpm: LimitValue
    tpm: LimitValue
    concurrency: LimitValue
    keys_per_provider: Annotated[int, Field(strict=True, ge=0, le=_MAX_KEYS)] | Literal["unlimited"]
    features: list[Feature]


class TierFile(BaseModel):
    """A whole tier file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x21-\x7e]+$")]
    free: TierRow
    starter: TierRow
    professional: TierRow
    enterprise: TierRow


class BadTierFile(ValueError):
    """An invalid tier file; the message says where the error is."""


class Tiers:
    """The tiers of an installation."""

    def __init__(self, table: TierTable) -> None:
        self.table = table
        self.version = table.version
        self._facts: Mapping[Tier, TierFacts] = {facts.tier: facts for facts in table.tiers}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse tiers from TOML. Raises BadTierFile."""
        try:
            file = TierFile.model_validate(tomllib.loads(text))
        except ValidationError as error:
            raise BadTierFile(describe(error)) from None
        except tomllib.TOMLDecodeError as error:
            raise BadTierFile(f"it is not TOML: {error}") from None
        facts = [_facts(tier, getattr(file, tier.value)) for tier in Tier]
        _check(facts)
        return cls(TierTable(version=file.version, tiers=facts))

    def of(self, tier: Tier) -> TierFacts:
        """Return what a tier includes."""
        return self._facts[tier]

    def limit(self, tenant: Tenant, kind: LimitKind) -> int | None:
        """Return the tenant's limit: its own, else the tier's; None if it is unlimited."""
        own = limit_of(tenant.limits, kind)
        value = limit_of(self._facts[tenant.tier].limits, kind) if own is None else own
        return None if value == UNLIMITED else value

    def has(self, tier: Tier, feature: Feature) -> bool:
        """Return whether a tier includes a feature."""
        return feature in self._facts[tier].features

    def lowest_with(self, feature: Feature) -> Tier | None:
        """Return the lowest tier that includes a feature; None if no tier does."""
        return next((facts.tier for facts in self.table.tiers if feature in facts.features), None)

    def lowest_with_limit(self, kind: LimitKind, above: int) -> Tier | None:
        """Return the lowest tier whose limit is higher than `above`; None if no tier's is."""
        for facts in self.table.tiers:
            value = limit_of(facts.limits, kind)
            if value == UNLIMITED or (isinstance(value, int) and value > above):
                return facts.tier
        return None

    def lowest_with_keys(self, above: int) -> Tier | None:
        """Return the lowest tier with more than `above` keys per provider; None if there is none."""
        for facts in self.table.tiers:
            if facts.keys_per_provider is None or facts.keys_per_provider > above:
                return facts.tier
        return None

    def keys_per_provider(self, tier: Tier) -> int | None:
        """Return how many provider keys of its own a tenant of this tier may have per provider; None for any number."""
        return self._facts[tier].keys_per_provider

    def missing(self, tenant: Tenant, feature: Feature, what: str) -> str | None:
        """Return why a tenant may not use `what`, which needs a feature, and what to upgrade to; None if it may."""
        if self.has(tenant.tier, feature):
            return None
        return f"{what} is not included in the tier {tenant.tier}: {upgrade_to(tenant, self.lowest_with(feature))}"


def upgrade_to(tenant: Tenant, tier: Tier | None) -> str:
    """Return what a tenant has to do to get what `tier` has; None stands for what no tier has."""
    if tier is None:
        return "no tier of this installation includes it; ask its operator"
    return f"upgrade to {tier} (`keyferry tenants update {tenant.tenant} --tier {tier}`)"


def limit_of(limits: Limits | None, kind: LimitKind) -> int | Literal["unlimited"] | None:
    """Return one of the limits; None if it is not set."""
    if limits is None:
        return None
    match kind:
        case LimitKind.RPM:
            return limits.rpm
        case LimitKind.TPM:
            return limits.tpm
        case LimitKind.CONCURRENCY:
            return limits.concurrency


def _facts(tier: Tier, row: TierRow) -> TierFacts:
    return TierFacts(
        tier=tier,
        limits=Limits(rpm=row.rpm, tpm=row.tpm, concurrency=row.concurrency),
        keys_per_provider=None if row.keys_per_provider == UNLIMITED else row.keys_per_provider,
        features=row.features,
    )


def _check(facts: Iterable[TierFacts]) -> None:
    """Raise BadTierFile if a tier contradicts itself, or includes less than the one below it."""
    lower: TierFacts | None = None
    for each in facts:
        if len(set(each.features)) != len(each.features):
            raise BadTierFile(f"{each.tier}: a feature is listed twice")
        if (Feature.BYOK in each.features) != (each.keys_per_provider != 0):
            raise BadTierFile(f"{each.tier}: the feature byok and keys_per_provider above 0 go together")
        if lower is not None:
            _check_not_less(lower, each)
        lower = each


def _check_not_less(lower: TierFacts, higher: TierFacts) -> None:
    if lost := set(lower.features) - set(higher.features):
        raise BadTierFile(f"{higher.tier}: the feature {min(lost)} of {lower.tier} is missing")
    if _rank(lower.keys_per_provider) > _rank(higher.keys_per_provider):
        raise BadTierFile(f"{higher.tier}: keys_per_provider is lower than that of {lower.tier}")
    for kind in LimitKind:
        if _rank(limit_of(lower.limits, kind)) > _rank(limit_of(higher.limits, kind)):
            raise BadTierFile(f"{higher.tier}: {kind} is lower than that of {lower.tier}")


def _rank(value: int | str | None) -> float:
    return value if isinstance(value, int) else float("inf")
