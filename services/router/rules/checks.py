"""What is wrong with a rule set in an installation: models that are unknown, and requests that would be refused.

The checks are generators that yield None after each piece of work, so that their caller can let requests go first. Pure.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain, islice

from keyferry.contracts.catalog import Capability
from keyferry.contracts.features import DEFAULT_MODEL, VIRTUAL_MODELS, PowerLevel
from keyferry.contracts.providers import NAMED_BY_TENANT, PROVIDERS
from keyferry.contracts.rule_checks import NamedModel, named_models
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ANY_SUFFIX, FindingCode, Rule, RuleFinding, RuleSet
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant, Tier
from keyferry.contracts.tiers import Feature
from keyferry.contracts.usage import RequestKind
from services.router.catalog.lookup import split_name
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.rules.dry_run import Replanned
from services.router.rules.matching import CompiledRules, TenantRules

ECHO = "echo"
_MOST_NAMED = 5
_MOST_HINTS = 20
_MOST_COMPARED = 500
"""Names with which a misspelt one is compared."""
Step = RuleFinding | None
"""A finding, or None after a piece of work without one."""


class NameHints:
    """Suggests names for misspelt ones, a bounded number of times: each search takes as long as planning some requests."""

    def __init__(self) -> None:
        self._left = _MOST_HINTS

    def suggest(self, name: str, known: Iterable[str]) -> str:
        """Return which known names are like `name`."""
        if self._left == 0:
            return "correct the name, or leave it out"
        self._left -= 1
        close = get_close_matches(name, list(islice(known, _MOST_COMPARED)), n=3, cutoff=0.6)
        return f"did you mean {' or '.join(close)}?" if close else "nothing has a name like it"


@dataclass(frozen=True, slots=True)
class CheckContext:
    """What a rule set is checked against."""

    owner: str
    """The tenant whose rules they are; `platform` for those of all tenants."""
    context: RoutingContext
    """The owner's, without health and with the published rules."""
    tenants: Collection[str]
    """All tenants; empty while they are unknown."""
    operations: Collection[str] | None
    """Operations that past requests, preferences or the catalog name; None if past requests are unknown."""
    rules: TenantRules
    """Those that would apply to the owner if the rule set were published."""
    hints: NameHints = field(default_factory=NameHints)

    @property
    def for_all(self) -> bool:
        """Whether the rules are the platform's."""
        return self.owner == PLATFORM_TENANT


def check_tier(facts: CheckContext) -> Iterator[RuleFinding]:
    """Yield a finding if the tenant's tier does not include rules of its own."""
    if (detail := describe_pause(facts.owner, facts.context)) is not None:
        yield RuleFinding(code=FindingCode.TIER, fault=True, detail=detail)


def describe_pause(owner: str, context: RoutingContext) -> str | None:
    """Return why a tenant's rules do not count, with what to do about it; None if they do."""
    tenant, tiers = context.tenant, context.tiers
    if owner == PLATFORM_TENANT or tenant is None or tiers is None:
        return None
    missing = tiers.missing(tenant, Feature.RULES, "the use of routing rules of one's own")
    return None if missing is None else f"{missing}; until then they are kept and do not count"


def check_facts(rule_set: RuleSet, facts: CheckContext) -> Iterator[Step]:
    """Yield what is wrong with each rule that is switched on, given what the router knows."""
    for rule in rule_set.rules:
        if not rule.enabled:
            continue
        faults = [*_check_models(rule, facts), *_check_tenants(rule, facts), *_check_kind(rule, facts)]
        yield from faults
        yield from _check_names(rule, facts)
        yield None
        if not faults:
            yield _check_callable(rule, facts)


def check_past(results: Sequence[Replanned]) -> Iterator[RuleFinding]:
    """Yield the operations whose past requests would be refused although the published rules let them pass.

    Chats and embeddings are looked at apart: a rule that names a chat model leaves all embeddings that it matches without one.
    So are tenants: a rule of the platform must not leave an operation of one of them without a model either.
    """
    by_operation: dict[tuple[str, str | None, RequestKind], list[Replanned]] = {}
    for result in results:
        if result.served_before is not None:
            by_operation.setdefault((result.past.tenant, result.past.operation, result.past.kind), []).append(result)
    several = len({result.past.tenant for result in results}) > 1
    for (tenant, operation, kind), answered in by_operation.items():
        refused = [result for result in answered if result.served_after is None]
        if not refused:
            continue
        plural = "embeddings" if kind is RequestKind.EMBEDDING else "requests"
        what = f"{plural} without an operation" if operation is None else f"{plural} of the operation {operation}"
        what += f" of the tenant {tenant}" if several else ""
        reason = refused[0].after.refusal
        why = f"{reason.message}" if reason is not None else "no candidate is left"
        rule = refused[0].after.rule
        remedy = (
            "name a model in the rule's chain that they can use, or narrow its conditions"
            if rule is not None
            else f"keep a rule for them, since they name {refused[0].past.model_asked}"
        )
        if len(refused) == len(answered):
            detail = f"it would leave {what} without a model: {why}; {remedy}"
        else:
            some = f"{len(refused)} of {len(answered)} past {what}"
            detail = f"{some} would be refused, such as {refused[0].past.request_id}: {why}; {remedy}"
        yield RuleFinding(
            code=FindingCode.OPERATION_WITHOUT_MODEL,
            fault=len(refused) == len(answered),
            rule=rule.rule if rule is not None else None,
            detail=detail,
        )


def check_embeddings(results: Sequence[Replanned]) -> Iterator[RuleFinding]:
    """Yield a warning for each rule that would have embeddings made by another model: their vectors cannot be compared."""
    moved: dict[str, list[Replanned]] = {}
    for result in results:
        before, after, rule = result.served_before, result.served_after, result.after.rule
        if result.past.kind is not RequestKind.EMBEDDING or before is None or after is None or rule is None:
            continue
        if before.rpartition("/")[2] != after.rpartition("/")[2]:
            moved.setdefault(rule.rule, []).append(result)
    for name, found in moved.items():
        first = found[0]
        detail = (
            f"{len(found)} past embeddings would be made by another model, such as {first.past.request_id} by"
            f" {first.served_after} in place of {first.served_before}: vectors of two models cannot be compared; give the rule"
            " `kind: chat` unless this is meant"
        )
        yield RuleFinding(code=FindingCode.OTHER_EMBEDDINGS, fault=False, rule=name, detail=detail)


def check_preferred(facts: CheckContext) -> Iterator[Step]:
    """Yield the operations of the tenant's preferences that are answered now, and would be left without a model."""
    if facts.for_all:
        return
    preferences = facts.context.preferences(RouteRequest(facts.owner, DEFAULT_MODEL))
    for operation in dict.fromkeys(chain(preferences.model_by_operation, preferences.mode_by_operation)):
        request = RouteRequest(facts.owner, DEFAULT_MODEL, operation=operation)
        if plan(request, facts.context).order:
            after = plan(request, replace(facts.context, rules=facts.rules))
            if not after.order and after.refusal is not None:
                detail = (
                    f"it would leave the operation {operation} of the preferences without a model: {after.refusal.message};"
                    " name a model in the rule's chain that the tenant can use, or narrow its conditions"
                )
                yield RuleFinding(
                    code=FindingCode.OPERATION_WITHOUT_MODEL,
                    fault=True,
                    rule=after.rule.rule if after.rule is not None else None,
                    detail=detail,
                )
        yield None


def _check_models(rule: Rule, facts: CheckContext) -> Iterator[RuleFinding]:
    """Yield the models and providers of a chain that do not exist, and models that it has under two of their names."""
    found: dict[str, NamedModel] = {}
    for named in named_models(rule):
        if named.use_case is not None or (named.provider is None and named.name in VIRTUAL_MODELS):
            continue
        where = f"step {named.step} of its chain"
        if named.provider is not None and named.provider not in _providers(facts):
            hint = facts.hints.suggest(named.provider, _providers(facts))
            detail = f"{where} names the provider {named.provider}, which there is not; {hint}"
            yield RuleFinding(code=FindingCode.UNKNOWN_PROVIDER, fault=True, rule=rule.name, detail=detail)
        elif not _is_known(named, facts):
            yield RuleFinding(
                code=FindingCode.UNKNOWN_MODEL,
                fault=True,
                rule=rule.name,
                detail=_describe_unknown(where, named, facts),
            )
        elif (model := _plain_model(named, facts)) is not None:
            first = found.setdefault(model, named)
            if first is not named:
                detail = f"its chain loops: {where} names {named.name}, which is {first.name} of step {first.step}; leave one out"
                yield RuleFinding(code=FindingCode.LOOP, fault=True, rule=rule.name, detail=detail)


def _plain_model(named: NamedModel, facts: CheckContext) -> str | None:
    """Return the catalog's id of what is named without a provider: an alias has that of its model."""
    resolved = facts.context.resolve(named.full_name)
    if resolved.model is None or resolved.provider is not None or resolved.snapshot or resolved.retired is not None:
        return None
    return resolved.model.id


def _describe_unknown(where: str, named: NamedModel, facts: CheckContext) -> str:
    if (retired := facts.context.resolve(named.full_name).retired) is not None:
        return f"{where} names {named.full_name}: {retired.advice()}, or leave it out"
    whom = "the platform's rules can name" if facts.for_all else f"{facts.owner} can call"
    hint = facts.hints.suggest(named.name, _model_names(facts))
    return (
        f"{where} names {named.full_name}, which is no model that {whom}; {hint};"
        f" `keyferry models --all --tenant {facts.owner}` lists them"
    )


def _providers(facts: CheckContext) -> list[str]:
    own = () if facts.for_all else (*facts.context.own_servers, *(each.name for each in facts.context.endpoints))
    return [*PROVIDERS, *own]


def _model_names(facts: CheckContext) -> list[str]:
    context = facts.context
    own = () if facts.for_all else (model for endpoint in context.endpoints for model in endpoint.models)
    return [*(model.id for model in context.catalog), *sorted(VIRTUAL_MODELS), *own]


def _is_known(named: NamedModel, facts: CheckContext) -> bool:
    """Return whether a request for this model would not be refused as unknown, whatever keys there are now."""
    context, name = facts.context, named.full_name
    resolved = context.resolve(name)
    if resolved.model is not None:
        return named.provider is None or bool(resolved.offerings)
    if facts.for_all:
        return False
    if name == ECHO or resolved.provider in NAMED_BY_TENANT:
        return True
    prefix, rest = split_name(name)
    if any(name in endpoint.models or (rest and prefix == endpoint.name) for endpoint in context.endpoints):
        return True
    return any(
        offering.upstream in key.models
        for offering in resolved.offerings
        for key in context.own_keys.get(offering.provider, ())
    )


def _check_tenants(rule: Rule, facts: CheckContext) -> Iterator[RuleFinding]:
    for tenant in rule.when.tenant or ():
        if facts.tenants and tenant not in facts.tenants:
            hint = facts.hints.suggest(tenant, facts.tenants)
            detail = f"it is for the tenant {tenant}, which there is not; {hint}; `keyferry tenants list` shows them"
            yield RuleFinding(code=FindingCode.UNKNOWN_TENANT, fault=True, rule=rule.name, detail=detail)


def _check_kind(rule: Rule, facts: CheckContext) -> Iterator[RuleFinding]:
    """Yield a finding if no model of the condition can serve the kind of the condition."""
    models, kinds = rule.when.model, rule.when.kind
    if models is None or kinds is None or any(name.endswith(ANY_SUFFIX) or name in VIRTUAL_MODELS for name in models):
        return
    capabilities = {Capability.EMBEDDINGS if kind is RequestKind.EMBEDDING else Capability.CHAT for kind in kinds}
    found = [facts.context.resolve(name).model for name in models]
    if all(model is not None and not capabilities & set(model.capabilities) for model in found):
        detail = (
            f"it matches nothing: no request of the kind {kinds[0].value} can be answered by {' or '.join(models)}; correct"
            " `kind` or `model`"
        )
        yield RuleFinding(code=FindingCode.MATCHES_NOTHING, fault=True, rule=rule.name, detail=detail)


def _check_names(rule: Rule, facts: CheckContext) -> Iterator[RuleFinding]:
    """Yield warnings about names in conditions that nothing has used: they may be misspelt, or new."""
    for operation in rule.when.operation or ():
        if facts.operations is not None and operation not in facts.operations:
            hint = facts.hints.suggest(operation, facts.operations)
            detail = f"no past request, preference or model of the catalog names the operation {operation}; {hint}"
            yield RuleFinding(code=FindingCode.UNKNOWN_OPERATION, fault=False, rule=rule.name, detail=detail)
    names = _model_names(facts)
    for pattern in rule.when.model or ():
        if pattern.endswith(ANY_SUFFIX):
            known = any(name.startswith(pattern[:-1]) for name in names) or pattern[:-1].rstrip("/") in _providers(
                facts
            )
        else:
            known = pattern in VIRTUAL_MODELS or _is_known(NamedModel(0, pattern), facts)
        if not known:
            hint = facts.hints.suggest(pattern.rstrip(ANY_SUFFIX), names)
            detail = (
                f"no model that can be called has the name {pattern}; {hint}; requests that name it match all the same"
            )
            yield RuleFinding(code=FindingCode.UNKNOWN_MODEL, fault=False, rule=rule.name, detail=detail)


def _check_callable(rule: Rule, facts: CheckContext) -> Step:
    """Return a finding if a request that the rule matches would be refused today."""
    tenant = _planned_tenant(rule, facts)
    if tenant is None:
        return None
    context = replace(facts.context, tenant=tenant, rules=_alone(rule, facts))
    planned = plan(_matching_request(rule, facts), context)
    if planned.order or planned.refusal is None or planned.rule is None:
        return None
    dropped = list(dict.fromkeys(candidate.detail for candidate in planned.candidates if not candidate.kept))
    why = "; ".join(dropped[:_MOST_NAMED]) or planned.refusal.message
    detail = (
        f"no model of its chain can be called now, so its requests would be refused ({why}); add a key, or end the chain with a"
        " model that can be called"
    )
    return RuleFinding(code=FindingCode.NO_CALLABLE_MODEL, fault=not facts.for_all, rule=rule.name, detail=detail)


def _alone(rule: Rule, facts: CheckContext) -> TenantRules:
    """Return this rule as the only one, so that no other rule matches the request that stands for all of its requests."""
    compiled = CompiledRules(
        RuleSetVersion(
            tenant=facts.owner,
            version=1,
            rule_set=RuleSet(rules=[rule]),
            actor="operator",
            published_at=facts.context.now,
        )
    )
    return TenantRules(None, compiled) if facts.for_all else TenantRules(compiled, None)


def _planned_tenant(rule: Rule, facts: CheckContext) -> Tenant | None:
    """Return the tenant to plan for: of the platform's rules one without keys of its own, in a tier that the rule is for."""
    if not facts.for_all:
        return facts.context.tenant
    tier = rule.when.tier[0] if rule.when.tier else Tier.ENTERPRISE
    return Tenant(tenant=PLATFORM_TENANT, name=PLATFORM_TENANT, tier=tier)


def _matching_request(rule: Rule, facts: CheckContext) -> RouteRequest:
    """Return a request that meets the rule's conditions."""
    when = rule.when
    tags = dict([tag.partition("=")[::2] for tag in when.tag[:1]]) if when.tag else {}
    kinds = when.kind or [_kind_of_chain(rule, facts)]
    model = when.model[0].rstrip(ANY_SUFFIX) if when.model else DEFAULT_MODEL
    return RouteRequest(
        when.tenant[0] if when.tenant else facts.owner,
        model or DEFAULT_MODEL,
        kind=kinds[0],
        operation=when.operation[0] if when.operation else None,
        tags=tags,
        power_level=PowerLevel(when.power_level[0]) if when.power_level else None,
        team=when.team[0] if when.team else None,
    )


def _kind_of_chain(rule: Rule, facts: CheckContext) -> RequestKind:
    first = next(named_models(rule))
    model = facts.context.resolve(first.full_name).model
    embeds = model is not None and Capability.EMBEDDINGS in model.capabilities
    return RequestKind.EMBEDDING if embeds else RequestKind.CHAT
