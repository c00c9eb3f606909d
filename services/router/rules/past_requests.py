"""Past requests from the ledger, and today's limits of the client tokens that made them, planned again in short slices."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from nats.errors import Error as NatsError

from keyferry.contracts.channels import Q, R, Subject
from keyferry.contracts.past_decisions import MAX_PAGE, ListDecisions, PastDecision
from keyferry.contracts.routing_management import DECISION_LIST
from keyferry.contracts.tenancy import PLATFORM_TENANT, ListClientTokens
from keyferry.contracts.topology import TOKEN_LIST
from keyferry.runtime.bus.requests import BusError, Refused
from services.router.planning.context import RoutingContext
from services.router.rules.dry_run import Replanned, replan
from services.router.rules.matching import TenantRules

T = TypeVar("T")

_ASK_SECONDS = 10.0
_SLICE_SECONDS = 0.001
"""How long planning may take before requests get their turn."""
_PAUSE_SECONDS = 0.001
_MOST_TENANTS = 200
"""Of how many tenants the client tokens are read: a dry run of the platform's rules may have requests of more."""


class AskService(Protocol):
    """A request over the bus: `Bus.ask`."""

    async def __call__(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        """Return the owner's answer. Raises Refused, and BusError if no service answers."""


@dataclass(frozen=True, slots=True)
class PastRequests:
    """Past requests, newest first, and whether the period has more."""

    decisions: list[PastDecision]
    more: bool
    allowed_models: Mapping[tuple[str, str], list[str] | None]
    """Of the client tokens, by tenant and id; those that are not there have no limit or are gone."""
    tokens_known: bool
    """Whether the limits of all tokens could be read."""


async def in_slices(steps: Iterable[T], turn: asyncio.Lock | None = None) -> list[T]:
    """Run an iterator to its end, and let the event loop do its other work after each slice of a millisecond.

    Those with the same `turn` run one slice after the other: together they take no more of a process's time than one of them.
    """
    found: list[T] = []
    iterator, turn = iter(steps), turn or asyncio.Lock()
    while True:
        async with turn:
            if not _run_slice(iterator, found):
                return found
            await asyncio.sleep(_PAUSE_SECONDS)


def _run_slice(steps: Iterator[T], found: list[T]) -> bool:
    """Add what comes within a slice; return whether more may come."""
    started = time.perf_counter()
    for step in steps:
        found.append(step)
        if time.perf_counter() - started >= _SLICE_SECONDS:
            return True
    return False


async def fetch_past_requests(
    ask: AskService, owner: str, since: datetime, until: datetime | None, limit: int
) -> PastRequests:
    """Return the newest past requests of a tenant, or of all tenants for the platform's rules.

    Raises Refused and BusError if the ledger does not answer. Without the tenant directory the limits of tokens are unknown.
    """
    found: list[PastDecision] = []
    after: str | None = None
    while True:
        page = await ask(
            DECISION_LIST,
            ListDecisions(
                tenant=None if owner == PLATFORM_TENANT else owner,
                since=since,
                until=until,
                after=after,
                limit=min(MAX_PAGE, limit - len(found)),
            ),
            timeout_seconds=_ASK_SECONDS,
        )
        found += page.decisions
        after = page.next
        if after is None or len(found) >= limit:
            break
    allowed, known = await _fetch_token_limits(ask, found)
    return PastRequests(found, after is not None, allowed, known)


async def fetch_samples(
    ask: AskService, tenant: str, spans: Sequence[tuple[datetime, datetime]], each: int
) -> PastRequests:
    """Return the newest past requests of each of several spans of a tenant, so many of each.

    Raises Refused and BusError if the ledger does not answer. Without the tenant directory the limits of tokens are unknown.
    """
    questions = [ListDecisions(tenant=tenant, since=since, until=until, limit=each) for since, until in spans]
    pages = [await ask(DECISION_LIST, question, timeout_seconds=_ASK_SECONDS) for question in questions]
    found = [decision for page in pages for decision in page.decisions]
    allowed, known = await _fetch_token_limits(ask, found)
    return PastRequests(found, any(page.next is not None for page in pages), allowed, known)


async def _fetch_token_limits(
    ask: AskService, decisions: Iterable[PastDecision]
) -> tuple[dict[tuple[str, str], list[str] | None], bool]:
    tenants = list(dict.fromkeys(each.tenant for each in decisions if each.client_token_id is not None))
    allowed: dict[tuple[str, str], list[str] | None] = {}
    for tenant in tenants[:_MOST_TENANTS]:
        try:
            answer = await ask(TOKEN_LIST, ListClientTokens(tenant=tenant), timeout_seconds=_ASK_SECONDS)
        except (Refused, BusError, NatsError):
            return allowed, False
        allowed |= {(tenant, token.token_id): token.allowed_models for token in answer.tokens}
    return allowed, len(tenants) <= _MOST_TENANTS


def replan_all(
    past: PastRequests, context_of: Callable[[str], RoutingContext], rules_of: Callable[[str], TenantRules]
) -> Iterator[Replanned]:
    """Plan every past request with the published rules and with `rules_of` its tenant, one at a time."""
    contexts: dict[str, tuple[RoutingContext, TenantRules]] = {}
    for decision in past.decisions:
        tenant = decision.tenant
        if tenant not in contexts:
            contexts[tenant] = (without_health(context_of(tenant)), rules_of(tenant))
        allowed = past.allowed_models.get((tenant, decision.client_token_id or ""))
        yield replan(decision, *contexts[tenant], allowed)


def without_health(context: RoutingContext) -> RoutingContext:
    """Return the context of a moment at which nothing is unhealthy, and everything can be read."""
    return replace(context, health=lambda _: None, may_probe=lambda _: False, unreadable=None)
