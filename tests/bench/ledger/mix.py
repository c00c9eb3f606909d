"""A mix of requests as an installation has it: decisions planned by the router's own code, and the attempts that follow."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keyferry.contracts import ids
from keyferry.contracts.credit import Hold, Reservation
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.preferences import Preferences, PreferenceScope, SavedPreferences
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.rule_management import RuleSetVersion
from keyferry.contracts.rules import ChainStep, Rule, RuleConditions, RuleSet
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome, TokenUsage, UsageSource
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from services.router.preferences.index import PreferenceIndex
from services.router.rules.matching import RuleIndex
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

WORKER = "provider-worker-1"
_PLATFORM_PROVIDERS = ("openai", "anthropic", "openrouter", "gemini", "groq", "mistral")
_MODELS = ("gpt-4o-mini",) * 5 + (
    "claude-sonnet-4-5",
    "gpt-4o",
    "gemini-2.5-flash",
    "llama-3.3-70b-instruct",
    "auto",
    "eco",
    "precision",
)
_OPERATIONS = ("summary", "chat", "extract", "classify", None)


@dataclass(frozen=True)
class RecordedRequest:
    """What the ledger gets of one request."""

    decision: DecisionRecord
    attempt: AttemptRecord | None
    """None if the request was refused."""


class Mix:
    """Requests of a number of tenants: two thirds on the platform's keys, a third on their own."""

    def __init__(self, tenants: int, seed: int = 1, *, now: datetime | None = None) -> None:
        self._chance = random.Random(seed)
        self._now = now or datetime.now(UTC)
        self._names = [f"tenant-{number}" for number in range(tenants)]
        self.leases = {name: ids.new("lea") for name in self._names}
        """The lease of each tenant's credits that its attempts have shares of."""
        keys = KeyIndex()
        keys.rebuild(self._all_keys())
        preferences = PreferenceIndex()
        rules = RuleIndex()
        for name in self._names[::5]:
            saved = Preferences(temperature=0.5)
            preferences.replace(
                name,
                [
                    SavedPreferences(
                        tenant=name, scope=PreferenceScope.TENANT, scope_id=name, revision=1, preferences=saved
                    )
                ],
            )
            rules.replace(name, [_rule_set(name, self._now)])
        self._contexts = [self._context(name, keys, preferences, rules) for name in self._names]

    def requests(self, count: int) -> Iterator[RecordedRequest]:
        """Yield this many requests, a millisecond apart."""
        for number in range(count):
            yield self._request(number, self._now - timedelta(milliseconds=count - number))

    def _all_keys(self) -> Iterator[KeyFacts]:
        yield from (platform_key(provider, ids.new(ids.PROVIDER_KEY)) for provider in _PLATFORM_PROVIDERS)
        for name in self._names[::3]:
            for provider in ("openai", "anthropic"):
                yield key_facts(provider, ids.new(ids.PROVIDER_KEY), tenant=name)

    def _context(self, name: str, keys: KeyIndex, preferences: PreferenceIndex, rules: RuleIndex) -> RoutingContext:
        return RoutingContext(
            Tenant(tenant=name, name=name, tier=Tier.PROFESSIONAL, key_policy=KeyPolicy.OWN_THEN_PLATFORM),
            (),
            self._now,
            paused_keys=(),
            catalog=catalog(),
            own_keys=keys.of(name),
            platform_keys=keys.of(PLATFORM_TENANT),
            prices=list_price,
            preferences=lambda request: preferences.of(
                request.tenant, request.team, request.member, request.client_token_id
            ),
            rules=rules.of(name),
        )

    def _request(self, number: int, at: datetime) -> RecordedRequest:
        chance = self._chance
        tenant = chance.randrange(len(self._names))
        stamp = round(at.timestamp() * 1000)
        request = RouteRequest(
            self._names[tenant],
            chance.choice(_MODELS),
            request_id=ids.new(ids.REQUEST, unix_ms=stamp),
            client_token_id=f"tok_{tenant:026}",
            team=chance.choice(("search", "support", None)),
            operation=chance.choice(_OPERATIONS),
            tags={"feature": "inbox"} if number % 3 == 0 else {},
            features=RequestFeatures(input_tokens=chance.randrange(20, 8000), tools=number % 4 == 0),
        )
        planned = plan(request, self._contexts[tenant])
        attempt_id = ids.new(ids.ATTEMPT, unix_ms=stamp) if planned.order else None
        trace = f"00-{chance.randbytes(16).hex()}-{chance.randbytes(8).hex()}-01"
        decision = DecisionRecord(
            decision_id=ids.new(ids.DECISION, unix_ms=stamp),
            request_id=request.request_id,
            tenant=request.tenant,
            client_token_id=request.client_token_id,
            router="router",
            model_asked=request.model,
            operation=request.operation,
            tags=dict(request.tags),
            team=request.team,
            features=request.features,
            power_level=planned.power_level,
            models=list(planned.models),
            rule=planned.rule,
            preferences=list(planned.applied),
            stream=number % 2 == 0,
            decided_at=at,
            duration_us=chance.randrange(60, 900),
            candidates=planned.candidates,
            order=planned.order,
            refusal=planned.refusal,
            attempt_id=attempt_id,
            traceparent=trace,
        )
        return RecordedRequest(decision, self._attempt(number, decision, attempt_id, at) if attempt_id else None)

    def _attempt(self, number: int, decision: DecisionRecord, attempt_id: str, at: datetime) -> AttemptRecord:
        chance = self._chance
        chosen = decision.candidates[decision.order[0]]
        failed = number % 50 == 0
        platform = chosen.key_source is KeySource.PLATFORM
        return AttemptRecord(
            attempt_id=attempt_id,
            request_id=decision.request_id,
            decision_id=decision.decision_id,
            attempt_number=1,
            tenant=decision.tenant,
            client_token_id=decision.client_token_id,
            provider=chosen.provider,
            origin=f"https://api.{chosen.provider.replace('_', '-')}.com",
            model_asked=decision.model_asked,
            model=chosen.model,
            model_served=f"{chosen.model}-2026-08-06",
            operation=decision.operation,
            power_level=decision.power_level,
            team=decision.team,
            key_source=chosen.key_source,
            key_id=chosen.key_id,
            tier=Tier.PROFESSIONAL,
            charged_level=decision.power_level or PowerLevel.BALANCED,
            reservation=_reservation(decision.tenant, self.leases[decision.tenant], at) if platform else None,
            stream=decision.stream,
            outcome=Outcome.FAILED if failed else Outcome.COMPLETED,
            failure=_OVERLOADED if failed else None,
            finish_reason=None if failed else "stop",
            token_usage=TokenUsage()
            if failed
            else TokenUsage(
                input=chance.randrange(20, 8000),
                cached_read=chance.choice((0, 0, 0, 1024)),
                output=chance.randrange(1, 1200),
                reasoning=chance.choice((0, 0, 0, 200)),
            ),
            usage_source=UsageSource.NONE if failed else UsageSource.REPORTED,
            started_at=at + timedelta(milliseconds=2),
            latency_ms=chance.randrange(200, 20_000),
            first_token_ms=None if failed else chance.randrange(100, 900),
            tags=decision.tags,
            traceparent=decision.traceparent,
            worker_id=WORKER,
            spool_seq=number + 1,
        )


_OVERLOADED = Failure(
    failure_class=FailureClass.OVERLOADED, message="the provider is overloaded (HTTP 529)", where=Where.HTTP_STATUS
)


def _reservation(tenant: str, lease_id: str, at: datetime) -> Reservation:
    hold = Hold(lease_id=lease_id, account=f"credits/{tenant}", amount=52_000)
    return Reservation(holds=[hold], not_after_unix_ms=round(at.timestamp() * 1000) + 25_000)


def _rule_set(tenant: str, now: datetime) -> RuleSetVersion:
    rules = [
        Rule(
            name="summaries-are-cheap",
            when=RuleConditions(operation=["summary"]),
            chain=[ChainStep(model="gpt-4o-mini"), ChainStep(model="gemini-2.5-flash")],
        )
    ]
    return RuleSetVersion(tenant=tenant, version=3, rule_set=RuleSet(rules=rules), actor="operator", published_at=now)
