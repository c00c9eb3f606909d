"""Rules applied to a request: its facts, and the chain of the first rule that matches. Pure."""

from keyferry.contracts.tiers import Feature
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.rules.chain import RuleChain
from services.router.rules.matching import RuleFacts, level_named


def apply_rules(request: RouteRequest, context: RoutingContext) -> RuleChain | None:
    """Return the chain that a rule sets for the request; None if no rule matches.

    The chain only replaces the model that the request names. What forbids a candidate is checked for every model of it. Rules
    of a tenant whose tier does not include them any more are kept, and do not count.
    """
    rules = context.rules
    if rules is None:
        return None
    tenant, level = context.tenant, request.power_level
    own = tenant is None or context.tiers is None or context.tiers.has(tenant.tier, Feature.RULES)
    return rules.choose(
        RuleFacts(
            seed=request.conversation or request.request_id,
            tenant=request.tenant,
            models=names_of(request.model, context) if rules.compares_models else (request.model,),
            kind=request.kind.value,
            operation=request.operation,
            tags=request.tags,
            power_level=level.value if level is not None else level_named(request.model),
            team=request.team,
            tier=tenant.tier.value if tenant is not None else None,
        ),
        own=own,
    )


def names_of(model: str, context: RoutingContext) -> tuple[str, ...]:
    """Return the names that conditions on the model are compared with. A name with a provider stays as it is written."""
    resolved = context.resolve(model)
    if resolved.model is None or resolved.provider is not None or resolved.snapshot or resolved.model.id == model:
        return (model,)
    return (model, resolved.model.id)
