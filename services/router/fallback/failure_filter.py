"""Filters candidates by what has failed for this request: by the table of fallbacks, and by the retry budget. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.fallback import (
    DEFAULT_FALLBACK_POLICY,
    Actions,
    FallbackAction,
    actions_after,
    is_final,
    may_be_charged,
)
from keyferry.contracts.route import Candidate, DropReason
from services.router.fallback.cooldowns import recovery_of
from services.router.fallback.delays import retry_delay_ms
from services.router.fallback.policy import policy_of
from services.router.fallback.retry_budget import RETRY_PERCENT, is_repeated
from services.router.fallback.servers import same_address, same_candidate, same_target, server_of
from services.router.planning.context import RouteRequest, RoutingContext


@dataclass(frozen=True, slots=True)
class FilteredCandidate:
    """A candidate after the filter: kept, or dropped; and if it may be tried again, after how long."""

    candidate: Candidate
    retry_ms: int | None = None


class FailureFilter:
    """Filters the candidates of one plan."""

    def __init__(self, request: RouteRequest, context: RoutingContext) -> None:
        self._request = request
        self._context = context
        self._failed = request.failed_attempts
        self._policy = policy_of(request, context) if self._failed else DEFAULT_FALLBACK_POLICY
        self._rules = [self._rule(failed) for failed in self._failed]
        self._final = self._final_reason() if self._failed else ""

    def apply(self, candidate: Candidate, origin: str | None) -> FilteredCandidate:
        """Return the candidate, dropped if it would fail as an attempt has, or may not follow one.

        `origin` is what a call would be sent to: another region of a provider is another provider to the table.
        """
        if not self._failed:
            return FilteredCandidate(candidate)
        if self._final:
            return FilteredCandidate(_drop(candidate, DropReason.NOT_FOLLOWED, self._final))
        tried: list[FailedAttempt] = []
        for failed, actions in zip(self._failed, self._rules, strict=True):
            if same_candidate(candidate, failed):
                tried.append(failed)
            elif same_target(candidate, failed) and _same_server(failed, origin):
                if FallbackAction.NEXT_KEY not in actions:
                    return FilteredCandidate(_drop(candidate, DropReason.ALREADY_TRIED, _has_failed(candidate, failed)))
            elif FallbackAction.LONGER_CONTEXT in actions and (why := self._too_short(candidate, failed)):
                return FilteredCandidate(_drop(candidate, DropReason.CONTEXT_TOO_SHORT, why))
        if tried:
            return self._check_retry(candidate, origin, tried)
        if not self._within_budget(candidate, origin):
            return FilteredCandidate(_drop(candidate, DropReason.RETRY_BUDGET, _budget_spent(candidate)))
        return FilteredCandidate(candidate)

    def rank(self, candidate: Candidate) -> int:
        """Return the rank among candidates of one payer: 0 for other keys of the provider whose key has just failed."""
        if not self._failed:
            return 0
        last = self._failed[-1]
        of_the_key = self._rules[-1][0] is FallbackAction.NEXT_KEY
        return 0 if of_the_key and candidate.provider == last.provider and candidate.model == last.model else 1

    def _rule(self, failed: FailedAttempt) -> Actions:
        """Return what may follow one of the attempts, looked at by itself."""
        return actions_after(failed.failure, policy=self._policy, no_key=failed.no_key)

    def _final_reason(self) -> str:
        """Return why nothing may follow the last attempt; empty if something may."""
        last, policy = self._failed[-1], self._policy
        earlier = [failed.failure for failed in self._failed[:-1]]
        if not is_final(actions_after(last.failure, earlier=earlier, policy=policy, no_key=last.no_key)):
            return ""
        failure_class = last.failure.failure_class
        if failure_class is FailureClass.CONTENT_FILTER and not policy.after_content_filter:
            return "a content filter rejected the request, and the tenant has not allowed that another provider gets it"
        if may_be_charged(last.failure) and not is_final(self._rules[-1]):
            return (
                f"the attempt may have been charged ({failure_class}), as one before it: a third answer is not paid for"
            )
        if may_be_charged(last.failure) and not policy.after_possible_charge:
            return f"the attempt may have been charged ({failure_class}), and the tenant pays for one answer only"
        return f"the request would fail everywhere: {failure_class}"

    def _check_retry(
        self, candidate: Candidate, origin: str | None, tried: Sequence[FailedAttempt]
    ) -> FilteredCandidate:
        last, now = tried[-1], self._context.now
        dropped = _drop(candidate, DropReason.ALREADY_TRIED, _has_failed(candidate, last))
        rules = [self._rule(failed) for failed in tried]
        if len(tried) > self._context.fallback.max_retries or any(
            FallbackAction.RETRY not in actions for actions in rules
        ):
            return FilteredCandidate(dropped)
        if not self._within_budget(candidate, origin):
            return FilteredCandidate(
                _drop(candidate, DropReason.RETRY_BUDGET, f"{dropped.detail}; {_budget_spent(candidate)}")
            )
        return FilteredCandidate(
            dropped, retry_delay_ms(self._request.request_id, len(tried), recovery_of(last, now), now)
        )

    def _within_budget(self, candidate: Candidate, origin: str | None) -> bool:
        """Return whether the candidate's server may get another attempt of this request."""
        tenant = self._request.tenant
        server = server_of(candidate, tenant, origin)
        before = [failed for failed in self._failed if server_of(failed, tenant, failed.origin) == server]
        if not before or not is_repeated(before):
            return True
        return self._context.fallback.within_budget(tenant, server)

    def _too_short(self, candidate: Candidate, failed: FailedAttempt) -> str:
        """Return why the candidate's context window is too short for a request that another's did not hold; empty if not."""
        window = self._window(candidate.provider, candidate.model)
        known = self._window(failed.provider, failed.model)
        if window is None:
            return (
                f"the request is too long for {failed.model}, and the context window of {candidate.model} is not known"
            )
        if known is not None and window <= known:
            return f"the request is too long for {failed.model} ({known} tokens), and {candidate.model} takes {window}"
        needed = self._request.features.input_tokens
        if window <= needed:
            return f"the request has about {needed} tokens, and {candidate.model} takes {window}"
        return ""

    def _window(self, provider: str, model: str) -> int | None:
        found = self._context.catalog.resolve(f"{provider}/{model}").model
        return None if found is None else found.context_tokens


def _same_server(failed: FailedAttempt, origin: str | None) -> bool:
    """Return whether a call to `origin` would fail as the attempt has: there, or for want of a place in the worker."""
    return failed.failure.where is Where.GATEWAY or same_address(origin, failed.origin)


def _has_failed(candidate: Candidate, failed: FailedAttempt) -> str:
    return f"{candidate.endpoint or candidate.provider} has failed for this request: {failed.failure.failure_class}"


def _budget_spent(candidate: Candidate) -> str:
    name = candidate.endpoint or candidate.provider
    return f"the retry budget of {name} is spent: {RETRY_PERCENT} % of its requests are tried again there at most"


def _drop(candidate: Candidate, reason: DropReason, detail: str) -> Candidate:
    return candidate.model_copy(update={"kept": False, "reason": reason, "detail": detail})
