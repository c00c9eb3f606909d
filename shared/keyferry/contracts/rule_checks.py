"""What can be wrong with a rule set in itself, without anything else that a router knows.

A rule matches nothing if every request that meets its conditions is matched by a rule before it. That is decided exactly for
the values that the conditions list: each combination has to be covered by one earlier rule. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import product
from math import prod
from types import MappingProxyType

from keyferry.contracts.fallback import UseCase
from keyferry.contracts.features import VIRTUAL_MODELS
from keyferry.contracts.rules import (
    ANY_SUFFIX,
    MAX_DOCUMENT_BYTES,
    ChainStep,
    FindingCode,
    Rule,
    RuleConditions,
    RuleFinding,
    RuleSet,
)
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tier
from keyferry.contracts.usage import RequestKind

CONDITIONS = tuple(RuleConditions.model_fields)
_ONLY_PLATFORM = ("tenant", "tier")
_WHOLE_SETS: Mapping[str, frozenset[str]] = {
    "kind": frozenset(RequestKind),
    "tier": frozenset(Tier),
}
"""Conditions whose values are few: with all of them they say nothing."""
_NO_ALIASES: Mapping[str, str] = MappingProxyType({})
_MOST_COMPARISONS = 20_000
"""Beyond these a rule is only compared with each earlier rule as a whole, so that no document takes seconds to check."""


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that a chain names."""

    step: int
    """Counted from 1."""
    name: str
    provider: str | None = None
    use_case: UseCase | None = None
    """The chain by use case that the name stands for."""

    @property
    def full_name(self) -> str:
        """The name with its provider, as a caller would write it."""
        return f"{self.provider}/{self.name}" if self.provider else self.name


def named_models(rule: Rule) -> Iterator[NamedModel]:
    """Yield the models of a rule's chain, in order; a power level counts as the virtual model of its name."""
    for number, step in enumerate(rule.chain, 1):
        yield from models_of_step(step, number)


def models_of_step(step: ChainStep, number: int) -> Iterator[NamedModel]:
    """Yield the models that a step names, in the order of the document."""
    if step.split is not None:
        yield from (NamedModel(number, share.model, share.provider) for share in step.split)
    elif step.power_level is not None:
        yield NamedModel(number, step.power_level.value)
    elif step.chain is not None:
        yield NamedModel(number, f"chain:{step.chain}", use_case=step.chain)
    elif step.model is not None:
        yield NamedModel(number, step.model, step.provider)


def given_conditions(when: RuleConditions) -> dict[str, list[str]]:
    """Return the conditions that are given, by name."""
    return {name: values for name in CONDITIONS if (values := getattr(when, name)) is not None}


def is_fault(findings: Iterable[RuleFinding]) -> bool:
    """Return whether one of the findings prevents publishing."""
    return any(finding.fault for finding in findings)


def check_rule_set(
    rule_set: RuleSet, tenant: str | None = None, aliases: Mapping[str, str] = _NO_ALIASES
) -> list[RuleFinding]:
    """Return the faults of a rule set in itself. Without `tenant` it may be anybody's, the platform's included.

    `aliases` maps names of conditions to the ids of the models that they are aliases of: conditions on the id hold for them.
    """
    if len(rule_set.model_dump_json(exclude_defaults=True)) > MAX_DOCUMENT_BYTES:
        detail = f"the rules are larger than {MAX_DOCUMENT_BYTES // 1024} KiB: shorten lists and descriptions, or use prefixes"
        return [RuleFinding(code=FindingCode.TOO_LARGE, fault=True, detail=detail)]
    findings = [
        *_check_names(rule_set.rules),
        *(fault for rule in rule_set.rules for fault in _check_rule(rule, tenant)),
        *_check_default(rule_set.rules),
        *_check_loops(rule_set.rules),
    ]
    return findings or list(_check_shadowed(rule_set.rules, aliases))


def _fault(code: FindingCode, rule: Rule, detail: str) -> RuleFinding:
    return RuleFinding(code=code, fault=True, rule=rule.name, detail=detail)


def _check_names(rules: Sequence[Rule]) -> Iterator[RuleFinding]:
    positions: dict[str, int] = {}
    for position, rule in enumerate(rules, 1):
        first = positions.setdefault(rule.name, position)
        if first != position:
            detail = f"the rules {first} and {position} are both called {rule.name}: give each its own name"
            yield _fault(FindingCode.DUPLICATE_NAME, rule, detail)


def _check_rule(rule: Rule, tenant: str | None) -> Iterator[RuleFinding]:
    conditions = given_conditions(rule.when)
    if tenant is not None and tenant != PLATFORM_TENANT:
        for name in _ONLY_PLATFORM:
            if name in conditions:
                detail = f"the condition {name} is for the platform's rules only: these apply to {tenant} alone, so leave it out"
                yield _fault(FindingCode.PLATFORM_CONDITION, rule, detail)
    for name, whole in _WHOLE_SETS.items():
        if whole <= set(conditions.get(name, ())):
            detail = f"the condition {name} lists every value there is, and so matches everything: leave it out"
            yield _fault(FindingCode.MATCHES_EVERYTHING, rule, detail)
    if not conditions and not rule.default:
        detail = (
            "it has no condition and so matches every request: add one under `when`, or make it the last rule and mark it"
            " `default: true`"
        )
        yield _fault(FindingCode.MATCHES_EVERYTHING, rule, detail)
    if conditions and rule.default:
        detail = "a default rule has no conditions: leave out `when`, or leave out `default`"
        yield _fault(FindingCode.NOT_LAST, rule, detail)
    yield from _check_repetition(rule)


def _check_repetition(rule: Rule) -> Iterator[RuleFinding]:
    """Check that a chain does not come back to a model that it has tried."""
    steps: dict[str, int] = {}
    for named in named_models(rule):
        first = steps.setdefault(named.full_name, named.step)
        if first != named.step:
            detail = (
                f"its chain loops: {named.full_name} is in step {first} and again in step {named.step}; a model that has failed"
                " is not tried again, so leave one out"
            )
            yield _fault(FindingCode.LOOP, rule, detail)
    for number, step in enumerate(rule.chain, 1):
        names = [share.full_name for share in models_of_step(step, number)]
        for name in sorted({name for name in names if names.count(name) > 1}):
            detail = f"step {number} has {name} twice: give it one share with the sum of the weights"
            yield _fault(FindingCode.DUPLICATE_NAME, rule, detail)


def _check_default(rules: Sequence[Rule]) -> Iterator[RuleFinding]:
    for rule in rules[:-1]:
        if rule.default:
            detail = f"it is the default and hides the rules after it, beginning with {_next(rules, rule)}: move it to the end"
            yield _fault(FindingCode.NOT_LAST, rule, detail)


def _next(rules: Sequence[Rule], rule: Rule) -> str:
    return rules[rules.index(rule) + 1].name


def _check_loops(rules: Sequence[Rule]) -> Iterator[RuleFinding]:
    """Check that no virtual model leads back to itself: a rule for `auto` whose chain is `eco`, and one for `eco` back to `auto`.

    Only conditions on models count: a rule that sends the requests of an operation to a power level is what levels are for.
    """
    leads_to: dict[str, dict[str, Rule]] = {}
    for rule in rules:
        if not rule.enabled or rule.when.model is None:
            continue
        targets = [
            named.name for named in named_models(rule) if named.name in VIRTUAL_MODELS and named.provider is None
        ]
        for source in sorted(VIRTUAL_MODELS):
            if any(covers_model(pattern, source) for pattern in rule.when.model):
                for target in targets:
                    leads_to.setdefault(source, {}).setdefault(target, rule)
    try:
        TopologicalSorter({source: list(targets) for source, targets in leads_to.items()}).prepare()
    except CycleError as error:
        path: list[str] = error.args[1][::-1]
        rule = leads_to[path[0]][path[1]]
        detail = (
            f"its chain loops: requests for {' lead to '.join(path)}; name a model in the chain, or take the name out of the"
            " condition"
        )
        yield _fault(FindingCode.LOOP, rule, detail)


def covers_model(pattern: str, name: str) -> bool:
    """Return whether a pattern matches a name, or everything that another pattern matches."""
    if pattern.endswith(ANY_SUFFIX):
        return name.startswith(pattern[:-1])
    return pattern == name


class _Cover:
    """What one condition of an earlier rule holds for."""

    __slots__ = ("_names", "_prefixes", "_values")

    def __init__(self, condition: str, values: Iterable[str]) -> None:
        self._values = frozenset(values)
        patterns = self._values if condition == "model" else frozenset[str]()
        self._prefixes = tuple(value[:-1] for value in patterns if value.endswith(ANY_SUFFIX))
        self._names = condition == "tag"

    def holds(self, value: str) -> bool:
        """Return whether it holds for every request for which a value of the same condition does."""
        return (
            value in self._values
            or value.startswith(self._prefixes)
            or (self._names and value.partition("=")[0] in self._values)
        )

    def holds_for_all(self, values: frozenset[str]) -> bool:
        """Return whether it holds for all of these values."""
        return values <= self._values or all(map(self.holds, values))


_Covers = Mapping[str, _Cover]


def _check_shadowed(rules: Sequence[Rule], aliases: Mapping[str, str]) -> Iterator[RuleFinding]:
    earlier: list[tuple[str, _Covers]] = []
    left = _MOST_COMPARISONS
    for rule in rules:
        if not rule.enabled:
            continue
        given = given_conditions(rule.when)
        own = _listing_whole_sets(given, earlier)
        related = [(name, covers) for name, covers in earlier if covers.keys() <= own.keys()]
        comparisons = prod(map(len, own.values())) * len(related)
        hiding = _hidden_by(own, related, exactly=comparisons <= left)
        left -= min(comparisons, left)
        if hiding:
            names = " and ".join(hiding)
            verb = "matches" if len(hiding) == 1 else "match"
            detail = (
                f"it matches nothing: {names}, before it, {verb} all of its requests; move it up, narrow what is before it, or"
                " remove it"
            )
            yield _fault(FindingCode.MATCHES_NOTHING, rule, detail)
        covers = {name: _Cover(name, values) for name, values in _with_aliases(given, aliases).items()}
        earlier.append((rule.name, covers))


def _with_aliases(given: dict[str, list[str]], aliases: Mapping[str, str]) -> dict[str, list[str]]:
    """Return conditions with the aliases of the models for which they hold."""
    models = given.get("model")
    if models is None or not aliases:
        return given
    also = [alias for alias, model in aliases.items() if any(covers_model(pattern, model) for pattern in models)]
    return given | {"model": [*models, *also]}


def _listing_whole_sets(
    given: Mapping[str, list[str]], earlier: Sequence[tuple[str, _Covers]]
) -> Mapping[str, list[str]]:
    """Return the conditions with all values of those that are not given, have few values, and are used by earlier rules.

    A rule for chats and one for embeddings together match everything, and so hide a rule that has no condition on the kind.
    """
    used = {name for _, covers in earlier for name in covers}
    return dict(given) | {
        name: sorted(whole) for name, whole in _WHOLE_SETS.items() if name in used and name not in given
    }


def _hidden_by(own: Mapping[str, list[str]], related: Sequence[tuple[str, _Covers]], *, exactly: bool) -> list[str]:
    """Return the names of the earlier rules that match every request that meets `own`; none if some request is left."""
    whole = {name: frozenset(values) for name, values in own.items()}
    for name, covers in related:
        if all(cover.holds_for_all(whole[condition]) for condition, cover in covers.items()):
            return [name]
    if not exactly or not related:
        return []
    found: dict[str, None] = {}
    for values in product(*own.values()):
        combination = dict(zip(own, values, strict=True))
        hiding = next((name for name, covers in related if _hold(covers, combination)), None)
        if hiding is None:
            return []
        found[hiding] = None
    return list(found)


def _hold(covers: _Covers, combination: Mapping[str, str]) -> bool:
    return all(cover.holds(combination[condition]) for condition, cover in covers.items())
