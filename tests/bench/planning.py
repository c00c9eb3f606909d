"""Timings of planning in one process: what a router computes for a request, with ten thousand tenants in memory."""

import gc
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import cycle

from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ChainStep, Rule, RuleConditions, RuleSet
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy, Tenant, Tier
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from services.router.preferences.index import PreferenceIndex
from services.router.rules.matching import RuleIndex
from tests.bench.failure import BenchError
from tests.bench.keys.timing import Timing, timing
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

DEFAULT_POLICY = "plan, default policy"
MANY_CANDIDATES = "plan, 50 candidates and 100 rules"
_TENANTS = 10_000
_RULES = 100
_OWN_KEYS = 48
_SAMPLES = 5_000
_WARM_UP = 500
_MODEL = "gpt-4o-mini"
_NOW = datetime(2026, 11, 1, tzinfo=UTC)
_PROVIDERS = ("openai", "anthropic", "openrouter", "gemini", "groq", "mistral")


class _Memory:
    """What a router holds of ten thousand tenants, of which half have keys and every tenth has preferences."""

    def __init__(self) -> None:
        self._keys = KeyIndex()
        self._keys.rebuild(self._all_keys())
        self._preferences = PreferenceIndex()
        for number in range(0, _TENANTS, 10):
            saved = SavedPreferences(
                tenant=_name(number),
                scope=PreferenceScope.TENANT,
                scope_id=_name(number),
                revision=1,
                preferences=Preferences(temperature=0.5),
            )
            self._preferences.replace(_name(number), [saved])
        self._rules = RuleIndex()
        self._rules.replace(_name(0), [_rule_set(_name(0))])

    def context(self, number: int, policy: KeyPolicy | None) -> RoutingContext:
        """Return the routing context of a tenant, as the router makes it for each request."""
        name = _name(number)
        return RoutingContext(
            Tenant(tenant=name, name=name, tier=Tier.ENTERPRISE, key_policy=policy),
            (),
            _NOW,
            paused_keys=(),
            catalog=catalog(),
            own_keys=self._keys.of(name),
            platform_keys=self._keys.of(PLATFORM_TENANT),
            prices=list_price,
            preferences=lambda request: self._preferences.of(
                request.tenant, request.team, request.member, request.client_token_id
            ),
            rules=self._rules.of(name),
        )

    def _all_keys(self) -> Iterable[KeyFacts]:
        yield from (platform_key(provider, f"key_{provider}") for provider in _PROVIDERS)
        yield from (key_facts("openai", f"key_0_{number}", tenant=_name(0)) for number in range(_OWN_KEYS))
        for number in range(2, _TENANTS, 2):
            yield key_facts("openai", f"key_{number}", tenant=_name(number))


def measure() -> list[Timing]:
    """Time plans of the platform's keys alone, and of 50 candidates behind 100 rules.

    Raises:
        BenchError: a plan is not what the row is about.
    """
    memory = _Memory()
    tenants = range(1, _TENANTS, 2)
    plain = [memory.context(number, None) for number in tenants[: _SAMPLES // 2]]
    many = [memory.context(0, KeyPolicy.OWN_THEN_PLATFORM)]
    found = len(plan(_request(0), many[0]).candidates)
    if found < _OWN_KEYS:
        raise BenchError(f"{MANY_CANDIDATES}: the plan has {found} candidates only.")
    gc.collect()
    gc.freeze()  # as a router does once it has loaded its views
    try:
        return [_time(DEFAULT_POLICY, plain), _time(MANY_CANDIDATES, many)]
    finally:
        gc.unfreeze()


def _time(name: str, contexts: list[RoutingContext]) -> Timing:
    durations_ns = []
    began = time.perf_counter()
    for number, context in zip(range(_WARM_UP + _SAMPLES), cycle(contexts), strict=False):
        request = _request(number, context.tenant.tenant if context.tenant else "")
        started = time.perf_counter_ns()
        plan(request, context)
        if number >= _WARM_UP:
            durations_ns.append(time.perf_counter_ns() - started)
    return timing(name, durations_ns, time.perf_counter() - began)


def _request(number: int, tenant: str = "tenant-0") -> RouteRequest:
    return RouteRequest(
        tenant,
        _MODEL,
        request_id=f"req_{number}",
        operation="summary",
        tags={"feature": "inbox"},
        features=RequestFeatures(input_tokens=900),
    )


def _rule_set(tenant: str) -> RuleSetVersion:
    """Return a hundred rules of which none is about the request, so that each that could be has to be compared."""
    rules = [
        Rule(
            name=f"rule-{number}",
            when=RuleConditions(operation=[f"operation-{number}"])
            if number % 2
            else RuleConditions(model=["gpt-4o*"], tag=[f"feature=other-{number}"]),
            chain=[ChainStep(model="gpt-4o")],
        )
        for number in range(_RULES)
    ]
    return RuleSetVersion(tenant=tenant, version=1, rule_set=RuleSet(rules=rules), actor="operator", published_at=_NOW)


def _name(number: int) -> str:
    return f"tenant-{number}"
