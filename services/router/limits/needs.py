"""What a request takes of which limits, and what is said where one of them is reached. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from keyferry.contracts.chat import RequestHead
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.limits import UNLIMITED, LimitKind
from keyferry.contracts.tenancy import Tenant
from keyferry.contracts.usage import RequestKind
from keyferry.tiers.file import Tiers, limit_of, upgrade_to

_ASSUMED_OUTPUT_TOKENS = 500
"""What an answer without a limit of its own is taken for until its usage is known."""
_BYTES_PER_TOKEN = 4
"""Where nobody has looked into the body."""
_RETRY_CONCURRENCY_MS = 1000
"""When one of the running requests ends is not known."""
_NOUNS = {
    LimitKind.RPM: "requests per minute",
    LimitKind.TPM: "tokens per minute",
    LimitKind.CONCURRENCY: "requests at the same time",
}


@dataclass(frozen=True, slots=True)
class Need:
    """What a request takes of one limit."""

    kind: LimitKind
    client_token_id: str | None
    """Whose limit it is; None for the tenant's."""
    limit: int
    amount: int


def estimate_tokens(request: RequestHead, body_bytes: int) -> int:
    """Return how many tokens a request may use: its input, and the output that it allows."""
    features = request.features
    tokens = features.input_tokens if features and features.input_tokens else body_bytes // _BYTES_PER_TOKEN
    if request.kind is RequestKind.EMBEDDING:
        return max(1, tokens)
    allowed = features.max_output_tokens if features else None
    choices = features.choices if features else 1
    return max(1, tokens + choices * (_ASSUMED_OUTPUT_TOKENS if allowed is None else allowed))


TenantLimits = tuple[tuple[LimitKind, int | None], ...]
"""A tenant's limits by kind; None where it is unlimited. Concurrency comes last: what is refused before holds no place."""


def limits_of(tenant: Tenant, tiers: Tiers) -> TenantLimits:
    """Return a tenant's limits, in the order in which they are checked."""
    return tuple((kind, tiers.limit(tenant, kind)) for kind in LimitKind)


def list_needs(request: RequestHead, body_bytes: int, tenant_limits: TenantLimits) -> tuple[Need, ...]:
    """Return what a request takes of each limit of its tenant and its client token; nothing where there is none."""
    return tuple(_each_need(request, body_bytes, tenant_limits))


def _each_need(request: RequestHead, body_bytes: int, tenant_limits: TenantLimits) -> Iterator[Need]:
    for kind, of_tenant in tenant_limits:
        amount = 0
        of_token = limit_of(request.token_limits, kind) if request.client_token_id else None
        for limit, token in ((of_tenant, None), (of_token, request.client_token_id)):
            if limit is None or limit == UNLIMITED:
                continue
            amount = amount or (estimate_tokens(request, body_bytes) if kind is LimitKind.TPM else 1)
            yield Need(kind, token, limit, amount)


def describe_reached(need: Need, tenant: Tenant, tiers: Tiers, reset_ms: int) -> Failure:
    """Return the refusal of a request for which a limit has not enough left; `reset_ms` is when its window ends."""
    whose = "the client token's own" if need.client_token_id else f"{tenant.tenant}'s"
    noun = _NOUNS[need.kind]
    if need.amount > need.limit:
        message = (
            f"this request may use {need.amount} tokens (its input, and the output that it allows), and {whose} limit is"
            f" {need.limit} {noun}: lower max_tokens, shorten the request, or have the limit raised{_way_up(need, tenant, tiers)}"
        )
        return Failure(failure_class=FailureClass.BAD_REQUEST, message=message, param="max_tokens")
    if need.kind is LimitKind.CONCURRENCY:
        wait_ms, when = _RETRY_CONCURRENCY_MS, "try again when one of them has ended"
    else:
        wait_ms, when = max(1, reset_ms), f"the next minute begins in {reset_ms / 1000:.1f} s"
    message = f"{whose} limit of {need.limit} {noun} is reached: {when}{_way_up(need, tenant, tiers)}"
    return Failure(failure_class=FailureClass.LIMIT, message=message, retry_after_ms=wait_ms)


def _way_up(need: Need, tenant: Tenant, tiers: Tiers) -> str:
    """Return how to get a higher limit, if it is the tier's and a higher tier has one."""
    if need.client_token_id or limit_of(tenant.limits, need.kind) is not None:
        return ""
    higher = tiers.lowest_with_limit(need.kind, max(need.limit, need.amount - 1))
    return "" if higher is None else f"; for more, {upgrade_to(tenant, higher)}"
