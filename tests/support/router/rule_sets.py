"""Rule sets as the router publishes them."""

from datetime import UTC, datetime
from typing import Any

from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import RuleSet
from services.router.rules.matching import CompiledRules, TenantRules

PUBLISHED_AT = datetime(2026, 11, 1, tzinfo=UTC)


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
