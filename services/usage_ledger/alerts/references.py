"""What the scopes of alert rules name, and what to say where it does not exist. Pure."""

from collections.abc import Iterable, Sequence

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference, MissingReference
from keyferry.contracts.alert_rules import AlertRuleTerms, AlertScope

OF_DIRECTORY = frozenset({ScopeField.TEAM, ScopeField.MEMBER, ScopeField.CLIENT_TOKEN})
"""The fields about which the tenant directory is asked."""
OF_ROUTER = frozenset({ScopeField.PROVIDER, ScopeField.MODEL})
"""The fields about which the router is asked. Operations and tags are whatever callers name; the ledger has the others."""


def references_of(rules: Iterable[AlertRuleTerms], fields: frozenset[ScopeField]) -> list[AlertReference]:
    """Return what rules name in these fields, each once."""
    found = {
        (field, value, provider): AlertReference(field=field, value=value, provider=provider)
        for rule in rules
        for field in sorted(rule.scope.given & fields)
        for value, provider in (_named(rule.scope, field),)
    }
    return list(found.values())


def scope_names(scope: AlertScope, reference: AlertReference) -> bool:
    """Return whether a scope names this."""
    if reference.field not in scope.given:
        return False
    return _named(scope, reference.field) == (reference.value, reference.provider)


def describe_missing(missing: Sequence[MissingReference]) -> str | None:
    """Return why a rule stays silent, and what to do about it; None if nothing is missing."""
    if not missing:
        return None
    return f"{_list(missing)}: change the rule's scope, or remove the rule"


def describe_refusal(missing: Sequence[MissingReference]) -> str:
    """Return which fields of a rule that is to be saved name what."""
    return f"{', '.join(f'`scope.{each.field}`' for each in missing)}: {_list(missing)}; name what there is"


def _named(scope: AlertScope, field: ScopeField) -> tuple[str, str | None]:
    return str(getattr(scope, field.value)), scope.provider if field is ScopeField.MODEL else None


def _list(missing: Sequence[MissingReference]) -> str:
    return "; ".join(each.reason for each in missing)
