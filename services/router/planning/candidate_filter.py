"""Filters the candidates of a plan by failures, in this request and in others, and puts those that are left in order. Pure."""

from keyferry.contracts.fallback import FallbackReason
from keyferry.contracts.route import Candidate
from services.router.fallback.delays import fits, wait_ms
from services.router.fallback.failure_filter import FailureFilter
from services.router.fallback.servers import queue_of, same_candidate, same_server
from services.router.fallback.wait_choice import Rank, Wait, choose_wait, described
from services.router.planning.context import RouteRequest, RoutingContext
from services.router.planning.health_filter import HealthFilter, HealthRank

_AFTER_EQUALS = 1_000_000
"""More than any random part of a rank: what it is added to comes after all that are equal otherwise."""


class CandidateFilter:
    """The order of one plan, as far as its candidates have been added."""

    def __init__(self, request: RouteRequest, context: RoutingContext) -> None:
        self._request = request
        self._context = context
        self._failures = FailureFilter(request, context)
        self.health = HealthFilter(request, context)
        self._order: list[tuple[Rank, int]] = []
        self._waits: list[Wait] = []
        self._first_skipped: Rank | None = None

    def add(self, rank: Rank, index: int) -> None:
        """Add a candidate that no failure concerns."""
        self._order.append((rank, index))

    def apply(self, candidate: Candidate, index: int, origin: str | None, group: Rank, rank: Rank) -> Candidate:
        """Add a candidate to the order, or return it as dropped.

        `group` is the position of its model and whose key pays, `rank` what decides among those of equal health. `origin` is
        what a call would be sent to.
        """
        filtered = self._failures.apply(candidate, origin)
        if not filtered.candidate.kept and filtered.retry_ms is None:
            return filtered.candidate
        healthy, health_rank = self.health.apply(candidate, index, origin)
        if index in self.health.paced:
            rank = (*rank[:-1], rank[-1] + _AFTER_EQUALS)
        place = (*group, self._failures.rank(candidate), health_rank, *rank)
        if filtered.retry_ms is not None:
            if healthy.kept or self._pauses(candidate, origin):
                self._wait(candidate, index, origin, place, filtered.retry_ms)
            return filtered.candidate
        if healthy.kept:
            self._order.append((place, index))
            return healthy
        skipped = (*place[: len(group) + 1], HealthRank.HEALTHY, *rank)
        self._first_skipped = skipped if self._first_skipped is None else min(self._first_skipped, skipped)
        if self._pauses(candidate, origin):
            self._wait(candidate, index, origin, place, None)
        return healthy

    def order(self, candidates: list[Candidate]) -> list[int]:
        """Return what may be used now, best first; a half-open candidate is marked in `candidates` if it is probed."""
        self.health.place_probe(self._order, candidates)
        self._order.sort()
        return [index for _, index in self._order]

    def add_wait(self, order: list[int], candidates: list[Candidate]) -> list[int]:
        """Return the order with the candidate to wait for before it, if one should be; it is marked in `candidates`."""
        if not self._waits:
            return order
        first = next((rank for rank, index in self._order if order and index == order[0]), None)
        wait = choose_wait(self._waits, first)
        if wait is None:
            return order
        candidates[wait.index] = described(wait, candidates[wait.index])
        return [wait.index, *order]

    def reason_of(self, first: Candidate) -> FallbackReason | None:
        """Return why the first of the order is not the first choice of the request; None if it is."""
        failed = self._request.failed_attempts
        if failed:
            return None if same_candidate(first, failed[0]) else failed[0].failure.failure_class
        if self._first_skipped is not None and self._order and self._order[0][0] > self._first_skipped:
            return "unhealthy"
        return None

    def _pauses(self, candidate: Candidate, origin: str | None) -> bool:
        return self.health.find_recovery(candidate, origin) is not None

    def _wait(self, candidate: Candidate, index: int, origin: str | None, rank: Rank, retry_ms: int | None) -> None:
        """Keep a candidate in mind that is to be waited for, if there is enough time, and not too many wait already."""
        request, facts = self._request, self._context.fallback
        delay_ms = retry_ms or 0
        recovery = self.health.find_recovery(candidate, origin)
        if recovery is not None:
            delay_ms = max(delay_ms, wait_ms(request.request_id, recovery, self._context.now))
        if not fits(delay_ms, request.deadline_ms, facts.longest_wait_ms):
            return
        stays = not self._context.preferences(request).auto_provider_switch
        if stays and request.failed_attempts and not same_server(candidate, request.failed_attempts[0]):
            return
        if retry_ms is None and not facts.may_wait(request.tenant, queue_of(candidate, request.tenant, origin)):
            return
        self._waits.append(Wait(delay_ms, rank, index, is_retry=retry_ms is not None))
