"""Rule sets compiled for planning: an index finds the few rules that can match a request.

Each rule is filed under one of its conditions, the one that usually excludes most, so that the cost of a match does not grow
with the number of rules about other operations, teams or models. Pure.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.rule_checks import given_conditions, models_of_step
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ANY_SUFFIX, AppliedRule, AppliedStep, ChainStep, Rule
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.router.rules.chain import RuleChain, RuleModel
from services.router.rules.shares import format_share, pick_share

_MOST_ASSEMBLED = 100
"""Chains of one rule that are kept: several splits in one chain have many combinations."""
_MOST_SELECTIVE_FIRST = ("operation", "team", "tenant", "model", "tag", "power_level", "tier", "kind")


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What conditions are compared with."""

    seed: str
    """What weighted choices depend on: the conversation, or else the request."""
    tenant: str
    models: Sequence[str]
    """The names under which the request may name its model: as written, and the catalog's id where that was an alias."""
    kind: str
    operation: str | None = None
    tags: Mapping[str, str] | None = None
    power_level: str | None = None
    team: str | None = None
    tier: str | None = None


class _Conditions:
    """The compiled conditions of one rule."""

    __slots__ = ("_exact", "_models", "_prefixes", "_tags", "_tests")

    def __init__(self, conditions: Mapping[str, list[str]]) -> None:
        models = conditions.get("model")
        self._models = models is not None
        self._exact = frozenset(name for name in models or () if not name.endswith(ANY_SUFFIX))
        self._prefixes = tuple(name[:-1] for name in models or () if name.endswith(ANY_SUFFIX))
        self._tags = tuple(tag.partition("=") for tag in conditions.get("tag", ()))
        self._tests = tuple(
            (name, frozenset(values)) for name, values in conditions.items() if name not in ("model", "tag")
        )

    def hold(self, facts: RuleFacts) -> bool:
        """Return whether all of them hold."""
        for name, values in self._tests:
            if getattr(facts, name) not in values:
                return False
        return (not self._models or self._hold_for_model(facts.models)) and (
            not self._tags or self._hold_for_tags(facts.tags or {})
        )

    def _hold_for_model(self, names: Sequence[str]) -> bool:
        return any(name in self._exact or name.startswith(self._prefixes) for name in names)

    def _hold_for_tags(self, tags: Mapping[str, str]) -> bool:
        return any(
            (found := tags.get(name)) is not None and (not equals or found == value)
            for name, equals, value in self._tags
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """One model of a step, for one share of the requests."""

    model: RuleModel
    applied: AppliedStep


class _Step:
    """One step of a chain."""

    __slots__ = ("_label", "_named", "_number", "_total", "weights")

    def __init__(self, step: ChainStep, number: int, label: str) -> None:
        self._named = list(models_of_step(step, number))
        self._number = number
        self._label = label
        self.weights = tuple(share.weight for share in step.split) if step.split is not None else ()
        """Of the models of a split, in their order; empty for other steps."""
        self._total = sum(self.weights)

    def entries(self, first: int) -> list[_Entry]:
        """Return the models for the requests that fall to the share `first`: that one, then the others."""
        if not self.weights:
            named = self._named[0]
            model = RuleModel(named.full_name, f"{self._label}: step {self._number}", named.use_case)
            return [_Entry(model, AppliedStep(step=self._number, model=named.full_name))]
        name = self._named[first].full_name
        chosen = f"{self._label}: {format_share(self.weights[first], self._total)} share {name}"
        after = f"{self._label}: step {self._number}, after its share {name}"
        others = (place for place in range(len(self._named)) if place != first)
        return [self._entry(first, chosen), *(self._entry(place, after) for place in others)]

    def _entry(self, place: int, detail: str) -> _Entry:
        name = self._named[place].full_name
        applied = AppliedStep(step=self._number, model=name, weight=self.weights[place], total_weight=self._total)
        return _Entry(RuleModel(name, detail), applied)


class CompiledRule:
    """One rule: its conditions, and its chain for each share."""

    def __init__(self, rule: Rule, version: RuleSetVersion) -> None:
        self.name = rule.name
        self.conditions = given_conditions(rule.when)
        self._compiled = _Conditions(self.conditions)
        self._fallback = rule.fallback
        self._owner, self._version = version.tenant, version.version
        possessive = "the platform's " if version.tenant == PLATFORM_TENANT else ""
        label = f"rule {rule.name} of {possessive}version {version.version}"
        self._steps = [_Step(step, number, label) for number, step in enumerate(rule.chain, 1)]
        self._splits = [(number, step.weights) for number, step in enumerate(self._steps, 1) if step.weights]
        self._assembled: dict[tuple[int, ...], RuleChain] = {}
        """Chains by the share of each split, as requests have needed them."""

    def matches(self, facts: RuleFacts) -> bool:
        """Return whether the rule applies to a request."""
        return self._compiled.hold(facts)

    def chain_for(self, facts: RuleFacts) -> RuleChain:
        """Return the chain for a request: of each split the model of its share first, then the others."""
        picks = tuple([pick_share(weights, facts.seed, self.name, number) for number, weights in self._splits])
        found = self._assembled.get(picks)
        if found is None:
            found = self._assemble(picks)
            if len(self._assembled) < _MOST_ASSEMBLED:
                self._assembled[picks] = found
        return found

    def _assemble(self, picks: Sequence[int]) -> RuleChain:
        chosen = iter(picks)
        entries = [entry for step in self._steps for entry in step.entries(next(chosen) if step.weights else 0)]
        applied = AppliedRule(
            owner=self._owner, version=self._version, rule=self.name, steps=[entry.applied for entry in entries]
        )
        return RuleChain(tuple(entry.model for entry in entries), self._fallback, applied)


class CompiledRules:
    """A published rule set, or a draft, ready for planning."""

    def __init__(self, version: RuleSetVersion) -> None:
        self.version = version
        self._rules = [CompiledRule(rule, version) for rule in version.rule_set.rules if rule.enabled]
        self._always: list[int] = []
        self._filed: dict[str, dict[str, list[int]]] = {}
        self._prefixes: dict[str, list[int]] = {}
        self.compares_models = any("model" in rule.conditions for rule in self._rules)
        self.operations = frozenset(name for rule in self._rules for name in rule.conditions.get("operation", ()))
        for position, rule in enumerate(self._rules):
            self._file(position, rule)
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefixes})

    def __len__(self) -> int:
        return len(self._rules)

    def match(self, facts: RuleFacts) -> CompiledRule | None:
        """Return the first rule that applies to a request; None without any."""
        for position in sorted({*self._always, *self._candidates(facts)}):
            if self._rules[position].matches(facts):
                return self._rules[position]
        return None

    def _file(self, position: int, rule: CompiledRule) -> None:
        name = next((name for name in _MOST_SELECTIVE_FIRST if name in rule.conditions), None)
        if name is None:
            self._always.append(position)
            return
        for value in rule.conditions[name]:
            if name == "model" and value.endswith(ANY_SUFFIX):
                self._prefixes.setdefault(value[:-1], []).append(position)
            else:
                key = value.partition("=")[0] if name == "tag" else value
                self._filed.setdefault(name, {}).setdefault(key, []).append(position)

    def _candidates(self, facts: RuleFacts) -> Iterator[int]:
        for name, filed in self._filed.items():
            if name == "model":
                for model in facts.models:
                    yield from filed.get(model, ())
            elif name == "tag":
                for tag in facts.tags or ():
                    yield from filed.get(tag, ())
            else:
                yield from filed.get(getattr(facts, name), ())
        for length in self._prefix_lengths:
            for model in facts.models:
                yield from self._prefixes.get(model[:length], ())


class TenantRules:
    """The rules that apply to a tenant: its own are checked first, then the platform's."""

    def __init__(self, own: CompiledRules | None, platform: CompiledRules | None) -> None:
        self._all = [rules for rules in (own, platform) if rules is not None and len(rules)]
        self._platform = [rules for rules in self._all if rules is platform]
        self.compares_models = any(rules.compares_models for rules in self._all)

    @property
    def operations(self) -> frozenset[str]:
        """The operations that their conditions name."""
        return frozenset().union(*(rules.operations for rules in self._all))

    def __bool__(self) -> bool:
        return bool(self._all)

    def choose(self, facts: RuleFacts, *, own: bool = True) -> RuleChain | None:
        """Return the chain of the first rule that matches; None without any. Without `own` only the platform's count."""
        for rules in self._all if own else self._platform:
            if (rule := rules.match(facts)) is not None:
                return rule.chain_for(facts)
        return None


class RuleIndex:
    """Published rule sets by tenant, compiled when the view changes."""

    def __init__(self) -> None:
        self._compiled: dict[str, CompiledRules] = {}
        self._by_tenant: dict[str, TenantRules] = {}
        self._platform: TenantRules | None = None

    def replace(self, tenant: str, versions: Collection[RuleSetVersion]) -> None:
        """Replace what a tenant has published; without a version it has no rules."""
        for version in versions:
            before = self._compiled.get(tenant)
            if before is None or before.version != version:
                self._compiled[tenant] = CompiledRules(version)
                self._forget(tenant)
        if not versions and self._compiled.pop(tenant, None) is not None:
            self._forget(tenant)

    def _forget(self, tenant: str) -> None:
        if tenant != PLATFORM_TENANT:
            self._by_tenant.pop(tenant, None)
            return
        self._by_tenant.clear()
        platform = self._compiled.get(PLATFORM_TENANT)
        self._platform = TenantRules(None, platform) if platform is not None else None

    def of(self, tenant: str) -> TenantRules | None:
        """Return the rules that apply to a tenant; None without any."""
        found = self._by_tenant.get(tenant)
        if found is None:
            own = self._compiled.get(tenant)
            if own is None or tenant == PLATFORM_TENANT:
                return self._platform or None
            found = self._by_tenant[tenant] = TenantRules(own, self._compiled.get(PLATFORM_TENANT))
        return found or None

    def with_draft(self, tenant: str, draft: CompiledRules) -> TenantRules:
        """Return the rules that would apply to a tenant if this were published; it is the tenant's own, or the platform's."""
        if draft.version.tenant == PLATFORM_TENANT:
            own = self._compiled.get(tenant) if tenant != PLATFORM_TENANT else None
            return TenantRules(own, draft)
        return TenantRules(draft, self._compiled.get(PLATFORM_TENANT))

    def all_published(self) -> list[RuleSetVersion]:
        """Return the published versions of all tenants, and of the platform."""
        return [compiled.version for compiled in self._compiled.values()]

    def published(self, tenant: str) -> RuleSetVersion | None:
        """Return a tenant's published version."""
        compiled = self._compiled.get(tenant)
        return None if compiled is None else compiled.version


def level_named(model: str) -> str | None:
    """Return the power level that a virtual model is named after."""
    return model if model in _LEVELS else None


_LEVELS = frozenset(level.value for level in PowerLevel)
