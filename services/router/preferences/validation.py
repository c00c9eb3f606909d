"""Whether preferences may be saved: everything that they name exists, may be used, and leaves each operation a model. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from keyferry.contracts.catalog import Capability
from keyferry.contracts.features import VIRTUAL_MODELS
from keyferry.contracts.origin import may_hold_a_secret
from keyferry.contracts.preferences import (
    PreferenceScope,
    RoutingMode,
    SavedPreferences,
    SavePreferences,
)
from keyferry.contracts.providers import PROVIDERS, SELF_HOSTED
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy
from services.router.model_uses import model_names
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import leads_nowhere, plan
from services.router.planning.saved_models import has_key, places_of
from services.router.planning.suggestions import suggest_names
from services.router.preferences.effective import EffectivePreferences, resolve
from services.router.preferences.index import ScopeKey, select_layers

_MAX_FAULTS = 8
_MAX_NAMED = 12
"""Most faults, and most names of models, in one message."""
_MAX_PLANS = 500
"""Most operations that are planned for one change, before and after it: requests wait in the meantime."""

ContextOf = Callable[[str], RoutingContext]
Scopes = Mapping[str, Mapping[ScopeKey, SavedPreferences]]
"""What is saved, by tenant and scope."""


class InvalidPreferences(ValueError):
    """Preferences that must not be saved; the message names each fault and what to do."""


def check_preferences(command: SavePreferences, stored: Sequence[SavedPreferences], context_of: ContextOf) -> None:
    """Check preferences against the catalog, the tenant, and everything that is saved. Raises InvalidPreferences.

    `stored` is what is saved for the tenant and for the platform; for a change of the platform's, of every tenant.
    """
    changed = _Change(command, stored, context_of)
    faults = list(dict.fromkeys(changed.faults()))
    if faults:
        more = f"; and {len(faults) - _MAX_FAULTS} more" if len(faults) > _MAX_FAULTS else ""
        raise InvalidPreferences("; ".join(faults[:_MAX_FAULTS]) + more)


class _Change:
    """A change of one scope, with what would be in force before and after it."""

    def __init__(self, command: SavePreferences, stored: Sequence[SavedPreferences], context_of: ContextOf) -> None:
        self._command = command
        self._given = command.preferences
        self._context_of = context_of
        self._context = replace(
            _without_health(context_of(command.tenant)), preferences=lambda _: EffectivePreferences()
        )
        saved = SavedPreferences(
            tenant=command.tenant,
            scope=command.scope,
            scope_id=command.scope_id,
            revision=1,
            preferences=command.preferences,
        )
        self._own = saved
        self._before = _by_tenant(stored)
        self._after = _by_tenant([*stored, saved])
        self._effective = resolve(_layers(self._after, saved))

    def faults(self) -> Iterator[str]:
        """Yield what is wrong. Models come first: the other checks need them to exist."""
        unknown = list(islice(self._unknown_names(), _MAX_FAULTS + 1))
        yield from unknown
        yield from self._contradictions()
        yield from self._modes()
        if not unknown:
            yield from self._residency()
            yield from self._operations_without_model()

    # --- names

    def _unknown_names(self) -> Iterator[str]:
        for where, name in model_names(self._given):
            if name in VIRTUAL_MODELS:
                yield f"{where}: {name} is no model but a choice; set power_level, or name a model"
            elif leads_nowhere(name, self._context):
                gone = self._context.resolve(name).retired
                unknown = f"there is no model {name}.{suggest_names(name, self._known_models())}"
                yield f"{where}: {unknown if gone is None else gone.advice()}"
            elif not where.startswith("model_by_operation") and self._embeds(name):
                yield (
                    f"{where}: {name} makes embeddings, and this is for chats; name it for an operation"
                    " (model_by_operation)"
                )
        for where in ("default_provider", "fallback_provider"):
            name = getattr(self._given, where)
            if name is not None and name not in (known := self._known_providers()):
                yield f"{where}: there is no provider {name}.{suggest_names(name, known)}"

    def _known_models(self) -> list[str]:
        """Return the names of models, those first that the tenant can probably call."""
        listed = [name for endpoint in self._context.endpoints for name in endpoint.models]
        models = sorted(self._context.catalog, key=lambda model: not has_key(model, self._context, self._effective))
        servers = (key for keys in self._context.own_keys.values() for key in keys if key.provider in SELF_HOSTED)
        at_servers = [f"{key.name or key.provider}/{name}" for key in servers for name in key.models[:_MAX_NAMED]]
        return [*listed, *at_servers, *(model.id for model in models)]

    def _known_providers(self) -> list[str]:
        return [*PROVIDERS, *(endpoint.name for endpoint in self._context.endpoints), *self._context.own_servers]

    def _embeds(self, name: str) -> bool:
        model = self._context.resolve(name).model
        return model is not None and Capability.EMBEDDINGS in model.capabilities

    # --- values that contradict each other

    def _contradictions(self) -> Iterator[str]:
        given, effective = self._given, self._effective
        for where in ("preferred_models", "fallback_models"):
            ids = [self._model_id(name) for name in getattr(given, where) or ()]
            yield from (f"{where}: {name} is named twice" for name in dict.fromkeys(ids) if ids.count(name) > 1)
        default = effective.default_model
        touched = given.default_model is not None or bool(given.fallback_models)
        if default is not None and touched:
            fallbacks = [self._model_id(name) for name in effective.fallback_models]
            if self._model_id(default) in fallbacks:
                yield f"fallback_models: {default} is the default model already; name another, or leave it out"
        if (given.default_provider or given.fallback_provider) is not None and (
            effective.default_provider == effective.fallback_provider
        ):
            yield f"fallback_provider: {effective.fallback_provider} is the default provider already"
        most, limit = effective.max_tokens_per_request, effective.max_tokens
        if (
            most is not None
            and limit is not None
            and limit > most
            and (given.max_tokens or given.max_tokens_per_request)
        ):
            yield f"max_tokens: {limit} is more than a request may have (max_tokens_per_request is {most})"
        if given.eu_only is False and effective.eu_only:
            source = effective.source("eu_only")
            holder = source.id or "the whole installation"
            yield f"eu_only: it is true for {holder}, and no narrower scope can make it false; leave it out here"
        if given.openrouter_site_url is not None and may_hold_a_secret(given.openrouter_site_url):
            yield "openrouter_site_url: give scheme, host, port and path only: it is sent to OpenRouter"

    def _model_id(self, name: str) -> str:
        model = self._context.resolve(name).model
        return model.id if model is not None else name

    # --- routing modes

    def _modes(self) -> Iterator[str]:
        modes = {"mode": self._given.mode} if self._given.mode is not None else {}
        modes |= {f"mode_by_operation.{name}": mode for name, mode in (self._given.mode_by_operation or {}).items()}
        for where, mode in modes.items():
            if (fault := self._find_fault_of_mode(mode)) is not None:
                yield f"{where}: {fault}"

    def _find_fault_of_mode(self, mode: RoutingMode) -> str | None:
        tenant = self._context.tenant
        if tenant is None or tenant.tenant == PLATFORM_TENANT:
            return (
                "each tenant has endpoints of its own: set custom for a tenant" if mode is RoutingMode.CUSTOM else None
            )
        policy, name = tenant.key_policy, tenant.tenant
        if mode is RoutingMode.PLATFORM and policy is KeyPolicy.OWN:
            return (
                f"the platform's keys may not pay for {name}, whose key policy is own; allow them first"
                f" (`keyferry tenants set {name} --keys own-then-platform`), or choose byok or custom"
            )
        if mode is RoutingMode.BYOK and policy is KeyPolicy.PLATFORM:
            return (
                f"only the platform's keys may pay for {name}; change its key policy first"
                f" (`keyferry tenants set {name} --keys own`), or choose platform"
            )
        own = [key for keys in self._context.own_keys.values() for key in keys]
        if mode is RoutingMode.BYOK and not own and policy is not KeyPolicy.OWN_THEN_PLATFORM:
            return f"{name} has no provider key; add one first (`keyferry keys add --tenant {name}`)"
        servers = any(key.provider in SELF_HOSTED for key in own) or any(
            endpoint.enabled for endpoint in self._context.endpoints
        )
        if mode is RoutingMode.CUSTOM and not servers:
            return f"{name} has no endpoint of its own; add one first (`keyferry endpoints add --tenant {name}`)"
        return None

    # --- where requests are processed

    def _residency(self) -> Iterator[str]:
        """Yield each named model that nothing offers where requests may be processed, in every scope that the change limits."""
        limits = self._given.eu_only or self._given.allowed_regions is not None
        for saved in self._affected() if limits else [self._own]:
            effective = resolve(_layers(self._after, saved))
            if not effective.limits_place:
                continue
            context = self._context if saved.tenant == self._command.tenant else self._context_of(saved.tenant)
            label = "" if saved is self._own else f"{saved.scope.value.replace('_', ' ')} {saved.scope_id}, "
            for where, name in model_names(saved.preferences):
                if places_of(name, context) and not places_of(name, context, effective):
                    yield f"{label}{where}: {name} has no offering {_describe_limits(effective)}; {self._remaining(effective)}"

    def _remaining(self, effective: EffectivePreferences) -> str:
        names = [name for name in self._known_models() if places_of(name, self._context, effective)]
        shown = ", ".join(names[:_MAX_NAMED]) + (", …" if len(names) > _MAX_NAMED else "")
        return f"these have one: {shown}" if names else "no model has one"

    # --- what remains

    def _operations_without_model(self) -> Iterator[str]:
        """Yield each operation that can be served now and could not be after the change."""
        left = _MAX_PLANS
        for saved in self._affected():
            if saved.tenant == PLATFORM_TENANT:
                continue
            context = _without_health(self._context_of(saved.tenant))
            before, after = resolve(_layers(self._before, saved)), resolve(_layers(self._after, saved))
            if before == after:
                continue
            ruled = context.rules.operations if context.rules is not None else ()
            for operation in [*sorted({*after.mode_by_operation, *after.model_by_operation, *ruled}), None]:
                if left == 0:
                    return
                left -= 1
                fault = _find_missing_model(operation, saved, context, before, after)
                if fault is not None:
                    named = f"the operation {operation}" if operation else "requests without an operation"
                    yield f"this would leave {named} of {saved.scope.value} {saved.scope_id} without a model: {fault}"

    def _affected(self) -> list[SavedPreferences]:
        """Return the scopes in which the change has an effect, its own first."""
        others = [each for scopes in self._after.values() for each in scopes.values() if self._reaches(each)]
        return [self._own, *(each for each in others if each is not self._own)]

    def _reaches(self, saved: SavedPreferences) -> bool:
        match self._command.scope:
            case PreferenceScope.PLATFORM:
                return True
            case PreferenceScope.TENANT:
                return saved.tenant == self._command.tenant
            case _:
                return False


def _by_tenant(stored: Iterable[SavedPreferences]) -> Scopes:
    scopes: dict[str, dict[ScopeKey, SavedPreferences]] = {}
    for saved in stored:
        scopes.setdefault(saved.tenant, {})[saved.scope, saved.scope_id] = saved
    return scopes


def _layers(scopes: Scopes, saved: SavedPreferences) -> Sequence[SavedPreferences]:
    """Return what applies where only this scope of its tenant does."""
    found = {**scopes.get(PLATFORM_TENANT, {}), **scopes.get(saved.tenant, {})}
    names = {saved.scope: saved.scope_id}
    return select_layers(
        found,
        saved.tenant,
        names.get(PreferenceScope.TEAM),
        names.get(PreferenceScope.MEMBER),
        names.get(PreferenceScope.CLIENT_TOKEN),
    )


def _without_health(context: RoutingContext) -> RoutingContext:
    """Return a context in which everything is healthy and readable: what is saved must not depend on the state of a moment."""
    return replace(context, health=lambda _: None, may_probe=lambda _: False, unreadable=None)


def _describe_limits(effective: EffectivePreferences) -> str:
    regions = " and ".join(", ".join(names) for names in effective.allowed_regions)
    parts = ["inside the European Union"] if effective.eu_only else []
    parts += [f"in the allowed regions ({regions})"] if regions else []
    return " and ".join(parts)


def _find_missing_model(
    operation: str | None,
    saved: SavedPreferences,
    context: RoutingContext,
    before: EffectivePreferences,
    after: EffectivePreferences,
) -> str | None:
    """Return why the model `default` can no longer serve an operation in a scope; None if it can, or could not before."""
    names = {saved.scope: saved.scope_id}
    request = RouteRequest(
        saved.tenant,
        "default",
        operation=operation,
        team=names.get(PreferenceScope.TEAM),
        member=names.get(PreferenceScope.MEMBER),
        client_token_id=names.get(PreferenceScope.CLIENT_TOKEN),
    )
    refused = plan(request, replace(context, preferences=lambda _: after)).refusal
    if refused is None or plan(request, replace(context, preferences=lambda _: before)).refusal is not None:
        return None
    return refused.message
