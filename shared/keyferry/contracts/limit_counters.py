"""The counters of limits on the bus: their subjects, and what is added to them while a request is answered. Pure.

Requests and tokens are counted in fixed minutes. Requests at the same time are counted in epochs: what runs on is moved to the
present epoch, and both it and the one before count. So what a process held that has died is free again after two epochs.
"""

import base64
import re

from keyferry.contracts.limits import Admission, HeldCount, LimitKind
from keyferry.contracts.topology import LIMIT_COUNTED

WINDOW_MS = 60_000
"""Limits per minute are counted in fixed minutes."""
EPOCH_MS = 30_000
SKEW_MS = 5_000
"""By so much the clocks of two processes may differ without one counting where the other does not look."""
INCREMENT_HEADER = "Nats-Incr"
_TOKEN_OF_A_SUBJECT = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_TENANT_SCOPE = "-"

Increment = tuple[str, int]
"""A counter's subject, and what to add to it."""


def counter_subject(kind: LimitKind, tenant: str, client_token_id: str | None, *, window: int) -> str:
    """Return the subject of a counter: the tenant's, or that of its client token."""
    scope = client_token_id or _TENANT_SCOPE
    if client_token_id is not None and not _TOKEN_OF_A_SUBJECT.fullmatch(client_token_id):
        # An id from a program on the bus may hold what separates or stands for tokens of a subject.
        scope = f"b32_{base64.b32hexencode(client_token_id.encode()).decode().rstrip('=').lower()}"
    return LIMIT_COUNTED.format(kind=kind.value, tenant=tenant, scope=scope, window=str(window))


def settle(admission: Admission, tenant: str, used_tokens: int | None, now_ms: int) -> list[Increment]:
    """Return what to add when a request has ended: its place is free, and its real tokens replace the estimate.

    `used_tokens` is None where the usage is unknown: the estimate stands. If the minute of the request is over, only what was
    used beyond the estimate counts, in the present one.
    """
    increments: list[Increment] = []
    for held in admission.held:
        if held.kind is LimitKind.CONCURRENCY:
            increments.append((_subject(held, tenant, held.window), -held.amount))
        elif held.kind is LimitKind.TPM and used_tokens is not None:
            window, difference = max(held.window, now_ms // WINDOW_MS), used_tokens - held.amount
            if difference > 0 or (difference and window == held.window):
                increments.append((_subject(held, tenant, window), difference))
    return increments


def add_tokens(admission: Admission, tenant: str, used_tokens: int, now_ms: int) -> list[Increment]:
    """Return what to add for an attempt that failed, was charged, and is followed by another."""
    if not used_tokens:
        return []
    return [
        (_subject(held, tenant, max(held.window, now_ms // WINDOW_MS)), used_tokens)
        for held in admission.held
        if held.kind is LimitKind.TPM
    ]


def renew(admission: Admission, tenant: str, now_ms: int) -> tuple[Admission, list[Increment]]:
    """Return the admission in the present epoch, and what to add for that; nothing while the epoch is the same.

    The new count is added before the old one is taken off, so that there is no moment at which the request does not count. It
    moves a while after the epoch has begun, when every router reads both: one whose clock is behind does not see the new one yet.
    A count that a wrong clock has put into a later epoch comes back.
    """
    epoch = (now_ms - SKEW_MS) // EPOCH_MS
    increments: list[Increment] = []
    held_now: list[HeldCount] = []
    for held in admission.held:
        if held.kind is LimitKind.CONCURRENCY and not epoch <= held.window <= epoch + 1:
            increments.append((_subject(held, tenant, epoch), held.amount))
            increments.append((_subject(held, tenant, held.window), -held.amount))
            held = held.model_copy(update={"window": epoch})
        held_now.append(held)
    return (Admission(held=held_now), increments) if increments else (admission, [])


def _subject(held: HeldCount, tenant: str, window: int) -> str:
    return counter_subject(held.kind, tenant, held.client_token_id, window=window)
