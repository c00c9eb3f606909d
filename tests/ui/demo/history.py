"""A history of requests: planned by the router's own code, priced by the ledger's, and recorded as if they had been made.

Nobody can make requests in the past, so they are written to the ledger's tables through its own store with its projections.
"""

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import create_async_engine

from keyferry.billing.plan import BUNDLED_PLAN, BillingPlan
from keyferry.contracts import ids
from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.route import DecisionRecord
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.usage import AttemptRecord, LedgerRow, Outcome, TokenUsage, UsageSource
from keyferry.pricing.book import PriceBook
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.prices import load_prices
from keyferry.runtime.tracing.context import trace_id
from services.router.planning.context import Plan, RouteRequest, RoutingContext
from services.router.planning.plan import plan
from services.router.planning.provider_keys import KeyIndex
from services.usage_ledger.analytics.projection import RollupProjection
from services.usage_ledger.charging import bill
from services.usage_ledger.key_spending_store import KeySpendingStore
from services.usage_ledger.pricing import price
from services.usage_ledger.request_log.projection import RefusedRequests, RequestFacets
from services.usage_ledger.store import LedgerStore
from tests.support.router.keys_and_prices import catalog, key_facts, list_price, platform_key

_BATCH: Final = 500
_WORKER: Final = "provider-worker-1"


@dataclass(frozen=True)
class Program:
    """One kind of request that a tenant makes."""

    model: str
    operation: str | None
    share: int
    team: str | None = None
    level: PowerLevel | None = None
    tags: tuple[tuple[str, str], ...] = ()
    prompt_tokens: int = 900
    answer_tokens: int = 220
    latency_ms: int = 900


PROGRAMS: Final = (
    Program("gpt-4o-mini", "summarize", 30, "support", tags=(("feature", "inbox"),)),
    Program("gpt-5", "research", 6, "search", PowerLevel.PRECISION, (("feature", "reports"),), 5200, 1400, 6200),
    Program("claude-sonnet-4-5", "review", 10, "search", None, (("feature", "reviews"),), 3400, 800, 4100),
    Program("mistral-small", "extract", 24, "support", PowerLevel.ECO, (("feature", "inbox"),), 1500, 120, 700),
    Program("llama-3.3-70b-instruct", "classify", 22, None, None, (), 420, 12, 310),
    Program("mistral-large", "translate", 8, "search", PowerLevel.BALANCED, (), 800, 760, 1500),
)
_FAILURES: Final = (
    (FailureClass.OVERLOADED, "the provider is overloaded (HTTP 529)"),
    (FailureClass.RATE_LIMIT, "the provider limits the rate of this key (HTTP 429)"),
    (FailureClass.TIMEOUT, "the provider has not answered in time"),
)


@dataclass(frozen=True)
class Account:
    """A tenant with its client tokens and the ids of its own keys by provider."""

    tenant: str
    token_ids: Sequence[str]
    keys: Mapping[str, str]
    platform_keys: Mapping[str, str]

    def context(self, now: datetime) -> RoutingContext:
        """Return what a router would know about the tenant."""
        index = KeyIndex()
        index.rebuild(
            [
                *(key_facts(provider, key_id, tenant=self.tenant) for provider, key_id in self.keys.items()),
                *(platform_key(provider, key_id) for provider, key_id in self.platform_keys.items()),
            ]
        )
        return RoutingContext(
            Tenant(
                tenant=self.tenant, name=self.tenant, tier=Tier.PROFESSIONAL, key_policy=KeyPolicy.OWN_THEN_PLATFORM
            ),
            (),
            now,
            paused_keys=(),
            catalog=catalog(),
            own_keys=index.of(self.tenant),
            platform_keys=index.of("platform"),
            prices=list_price,
        )


@dataclass(frozen=True)
class PastRequest:
    """What the ledger has of one request."""

    decisions: list[DecisionRecord]
    attempts: list[AttemptRecord]


@dataclass(frozen=True)
class _Step:
    """One decision about a request, and when it was made."""

    asked: RouteRequest
    planned: Plan
    number: int
    at: datetime
    trace: str
    decision_id: str


class History:
    """Requests of one account, the same for the same seed and moment."""

    def __init__(self, account: Account, now: datetime, seed: int = 1) -> None:
        self._account = account
        self._now = now
        self._chance = random.Random(seed)
        self._context = account.context(now)
        self._spool_seq = 0

    def requests(self, days: int, per_day: int) -> Iterator[PastRequest]:
        """Yield the requests of the last days: fewer at night and at weekends, the last one two hours ago."""
        for day in range(days, -1, -1):
            midnight = (self._now - timedelta(days=day)).replace(hour=0, minute=0, second=0, microsecond=0)
            count = per_day // 3 if midnight.weekday() >= 5 else per_day
            moments = sorted(midnight + timedelta(hours=self._hour()) for _ in range(count))
            yield from (self._request(at) for at in moments if at < self._now - timedelta(hours=2))

    def _hour(self) -> float:
        return min(23.9, max(0.0, self._chance.gauss(13.0, 4.0)))

    def _request(self, at: datetime) -> PastRequest:
        chance = self._chance
        (program,) = chance.choices(PROGRAMS, [each.share for each in PROGRAMS])
        asked = RouteRequest(
            self._account.tenant,
            program.model,
            request_id=ids.new(ids.REQUEST, unix_ms=_ms(at)),
            client_token_id=chance.choice(self._account.token_ids),
            team=program.team,
            operation=program.operation,
            tags=dict(program.tags),
            power_level=program.level,
            features=RequestFeatures(input_tokens=int(program.prompt_tokens * chance.uniform(0.5, 1.6))),
        )
        trace = f"00-{chance.randbytes(16).hex()}-{chance.randbytes(8).hex()}-01"
        past = PastRequest([], [])
        failed: list[FailedAttempt] = []
        for number in (1, 2, 3):
            planned = plan(replace(asked, failed_attempts=failed), self._context)
            step = _Step(asked, planned, number, at, trace, ids.new(ids.DECISION, unix_ms=_ms(at)))
            attempt = self._attempt(program, step)
            past.decisions.append(self._decision(step, attempt))
            if attempt is None:
                break
            past.attempts.append(attempt)
            at += timedelta(milliseconds=attempt.latency_ms + 20)
            if attempt.failure is None:
                break
            failed.append(_failed(attempt, planned, attempt.failure))
        return past

    def _decision(self, step: "_Step", attempt: AttemptRecord | None) -> DecisionRecord:
        asked, planned = step.asked, step.planned
        return DecisionRecord(
            decision_id=step.decision_id,
            request_id=asked.request_id,
            tenant=asked.tenant,
            client_token_id=asked.client_token_id,
            router="router",
            model_asked=asked.model,
            operation=asked.operation,
            tags=dict(asked.tags),
            team=asked.team,
            features=asked.features,
            power_level=planned.power_level,
            asked_level=asked.power_level,
            models=list(planned.models),
            rule=planned.rule,
            preferences=list(planned.applied),
            stream=True,
            decided_at=step.at,
            duration_us=self._chance.randrange(90, 600),
            candidates=planned.candidates,
            order=planned.order,
            refusal=planned.refusal,
            attempt_id=attempt.attempt_id if attempt else None,
            attempt_number=step.number,
            fallback_reason=planned.fallback_reason,
            traceparent=step.trace,
        )

    def _attempt(self, program: Program, step: "_Step") -> AttemptRecord | None:
        asked, planned, at = step.asked, step.planned, step.at
        if not planned.order:
            return None
        chance, chosen = self._chance, planned.candidates[planned.order[0]]
        failure = _failure(chance) if chance.random() < 0.03 else None
        latency_ms = int(program.latency_ms * chance.lognormvariate(0, 0.35))
        self._spool_seq += 1
        return AttemptRecord(
            attempt_id=ids.new(ids.ATTEMPT, unix_ms=_ms(at)),
            request_id=asked.request_id,
            decision_id=step.decision_id,
            attempt_number=step.number,
            tenant=asked.tenant,
            client_token_id=asked.client_token_id,
            provider=chosen.provider,
            model_asked=asked.model,
            model=chosen.model,
            operation=asked.operation,
            power_level=planned.power_level,
            team=asked.team,
            key_source=chosen.key_source,
            key_id=chosen.key_id,
            tier=Tier.PROFESSIONAL,
            charged_level=planned.power_level or PowerLevel.BALANCED,
            stream=True,
            outcome=Outcome.FAILED if failure else Outcome.COMPLETED,
            failure=failure,
            finish_reason=None if failure else "stop",
            token_usage=TokenUsage()
            if failure
            else TokenUsage(
                input=asked.features.input_tokens,
                cached_read=chance.choice((0, 0, 0, 512)),
                output=max(1, int(program.answer_tokens * chance.uniform(0.4, 1.8))),
            ),
            usage_source=UsageSource.NONE if failure else UsageSource.REPORTED,
            started_at=at + timedelta(milliseconds=3),
            latency_ms=latency_ms,
            first_token_ms=None if failure else max(20, latency_ms // 4),
            tags=dict(asked.tags),
            traceparent=step.trace,
            worker_id=_WORKER,
            spool_seq=self._spool_seq,
        )


def _failure(chance: random.Random) -> Failure:
    failure_class, message = chance.choice(_FAILURES)
    return Failure(failure_class=failure_class, message=message, where=Where.HTTP_STATUS)


def _failed(attempt: AttemptRecord, planned: Plan, failure: Failure) -> FailedAttempt:
    return FailedAttempt(
        attempt_id=attempt.attempt_id,
        provider=attempt.provider,
        model=attempt.model,
        key_id=attempt.key_id,
        key_source=attempt.key_source,
        chosen_model=planned.candidates[planned.order[0]].chosen_model,
        failure=failure,
    )


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def record_history(home: Path, requests: Sequence[PastRequest], now: datetime) -> None:
    """Write requests to the ledger of the system in `home`, with their prices and everything that follows from them."""
    asyncio.run(_record(home, requests, now))


async def _record(home: Path, requests: Sequence[PastRequest], now: datetime) -> None:
    engine = create_async_engine((home / "secrets" / "database" / "usage_ledger.url").read_text().strip())
    store = LedgerStore(engine, [KeySpendingStore(engine), RequestFacets(), RollupProjection()], [RefusedRequests()])
    prices = PriceBook(load_prices(BUNDLED_PRICES))
    billing = BillingPlan.parse(BUNDLED_PLAN.read_text())
    decisions = [decision for request in requests for decision in request.decisions]
    rows = [_row(attempt, prices, billing, now) for request in requests for attempt in request.attempts]
    try:
        for first in range(0, len(decisions), _BATCH):
            refused = await store.record_decisions(decisions[first : first + _BATCH], now)
            assert not refused.rejected, refused.rejected
        for first in range(0, len(rows), _BATCH):
            result = await store.record_attempts(rows[first : first + _BATCH])
            assert not result.rejected, result.rejected
    finally:
        await engine.dispose()


def _row(record: AttemptRecord, prices: PriceBook, billing: BillingPlan, now: datetime) -> LedgerRow:
    found = price(record, prices)
    row = LedgerRow(
        record=record,
        cost_usd=found.cost_usd,
        price_version=found.version,
        pricing=found.pricing,
        trace_id=trace_id(record.traceparent),
        recorded_at=min(now, record.started_at + timedelta(milliseconds=record.latency_ms + 400)),
    )
    return bill(row, found, billing)


def make_history(account: Account, *, days: int, per_day: int, now: datetime | None = None) -> list[PastRequest]:
    """Return requests of an account until two hours ago."""
    return list(History(account, now or datetime.now(UTC)).requests(days, per_day))
