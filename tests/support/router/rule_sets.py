"""Rule sets as the router publishes them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from keyferry.contracts.key import KeyFacts
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import RuleSet
from keyferry.contracts.tenancy import Tenant, Tier
from services.router.planning.context import RoutingContext
from services.router.planning.provider_keys import KeyIndex
from services.router.rules.matching import CompiledRules, TenantRules
from tests.support.router.keys_and_prices import catalog, key_facts, list_price

PUBLISHED_AT = datetime(2026, 11, 1, tzinfo=UTC)
ACME = Tenant(tenant="acme", name="Acme", tier=Tier.PROFESSIONAL)


def rule(name: str, chain: str | list[Any], /, **fields: Any) -> dict[str, Any]:
    """Return a rule as a document has it. `chain` may be one model; fields that are no fields of rules are conditions."""
    own: dict[str, Any] = {
        key: fields.pop(key) for key in ("description", "enabled", "fallback", "default") if key in fields
    }
    steps = [{"model": chain}] if isinstance(chain, str) else chain
    return {"name": name, "when": fields, "chain": steps, **own}


def split(**weights: int) -> dict[str, Any]:
    """Return a step that is split among models; an underscore in a name stands for a hyphen."""
    return {"split": [{"model": model.replace("_", "-"), "weight": weight} for model, weight in weights.items()]}


def rule_set(*rules: dict[str, Any]) -> RuleSet:
    """Return a rule set."""
    return RuleSet.model_validate({"rules": list(rules)})


def published(rules: RuleSet, tenant: str = "acme", version: int = 7) -> RuleSetVersion:
    """Return a rule set as it was published."""
    return RuleSetVersion(tenant=tenant, version=version, rule_set=rules, actor="operator", published_at=PUBLISHED_AT)


def tenant_rules(*own: dict[str, Any], platform: tuple[dict[str, Any], ...] = ()) -> TenantRules:
    """Return the rules that apply to the tenant `acme`."""
    return TenantRules(
        CompiledRules(published(rule_set(*own))),
        CompiledRules(published(rule_set(*platform), "platform", 3)) if platform else None,
    )


def routing_context(
    *rules: dict[str, Any], keys: Sequence[KeyFacts] | None = None, tenant: Tenant | None = ACME
) -> RoutingContext:
    """Return the context of `acme` with these rules of its own, and keys for OpenAI and Anthropic unless others are given."""
    index = KeyIndex()
    index.rebuild([key_facts("openai"), key_facts("anthropic")] if keys is None else keys)
    return RoutingContext(
        tenant,
        (),
        PUBLISHED_AT,
        catalog=catalog(),
        own_keys=index.of("acme"),
        platform_keys=index.of("platform"),
        own_servers=index.servers_of("acme"),
        prices=list_price,
        rules=tenant_rules(*rules) if rules else None,
    )
