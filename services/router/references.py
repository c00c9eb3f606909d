"""Which providers and models that alert rules name are unknown. Usage has models as their providers name them. Pure."""

from collections.abc import Collection, Iterable

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference, MissingReference
from keyferry.contracts.providers import NAMED_BY_TENANT, PROVIDERS
from services.router.planning.context import RoutingContext

_ECHO = "echo"
_CUSTOM = "custom"


def find_missing(
    references: Iterable[AlertReference], context: RoutingContext, unreadable_providers: Collection[str]
) -> list[MissingReference]:
    """Return what is unknown, each with a reason for people. A provider whose entry cannot be read counts as known."""
    missing = []
    for reference in references:
        if reference.field is ScopeField.PROVIDER:
            reason = _explain_provider(reference.value, unreadable_providers)
        elif reference.field is ScopeField.MODEL:
            reason = _explain_model(reference, context)
        else:
            continue
        if reason is not None:
            missing.append(MissingReference(**dict(reference), reason=reason))
    return missing


def _explain_provider(name: str, unreadable: Collection[str]) -> str | None:
    if name in PROVIDERS or name == _ECHO or name in unreadable:
        return None
    return f"there is no provider {name} (any more)"


def _explain_model(reference: AlertReference, context: RoutingContext) -> str | None:
    if _is_known(reference, context):
        return None
    name, provider = reference.value, reference.provider
    resolved = context.catalog.resolve(name)
    names = [
        f"{offering.upstream} at {offering.provider}"
        for offering in resolved.offerings
        if resolved.model is not None and provider in (None, offering.provider)
    ]
    if names:
        return f"no provider calls a model {name}: the catalog's is {', '.join(names)}"
    where = "" if provider is None else f" at {provider}"
    return (
        f"no attempt has used a model {name}{where}, and neither the catalog nor a key or endpoint of the tenant has it"
    )


def _is_known(reference: AlertReference, context: RoutingContext) -> bool:
    """Return whether attempts may have this model."""
    name, provider = reference.value, reference.provider
    if name == _ECHO or provider in NAMED_BY_TENANT:
        return True
    catalog = context.catalog
    current = (offering for model in catalog for offering in model.offerings)
    retired = (offering for model in catalog.retired for offering in model.offerings())
    dated = catalog.resolve(name)
    snapshots = dated.offerings if dated.snapshot else ()
    at_provider = (
        each for found in (current, retired, snapshots) for each in found if provider in (None, each.provider)
    )
    if any(each.upstream == name for each in at_provider):
        return True
    if provider in (None, _CUSTOM) and any(name in endpoint.models for endpoint in context.endpoints):
        return True
    keys = (key for owner, keys in context.own_keys.items() if provider in (None, owner) for key in keys)
    return any(name in key.models or name in (key.allowed_models or ()) for key in keys)
