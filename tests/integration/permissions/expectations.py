"""Expected rights of each NATS user, derived from publishers, subscribers, owners and readers alone.

This is independent of `keyferry.contracts.permissions`, with which it shares only the topology: nothing here reads a permission
pattern.
"""

import functools
import re
from collections.abc import Mapping

from keyferry.contracts.topology import (
    BUCKETS,
    CONSUMERS,
    FRAME_INBOXES,
    FRAME_PUBLISHERS,
    SERVICES,
    SUBJECTS,
    AnySubject,
    Role,
    SubjectKind,
    inbox_prefix,
    role_of,
    tenant_of,
)

NAMED_AFTER = {"worker": Role.PROVIDER_WORKER, "router": Role.ROUTER}
"""Placeholders that hold the name of a user with this role, as publisher or subscriber."""
PUBLISHERS_NAME = "service"
"""The placeholder that holds the publisher."""

DEAD_LETTER_OPERATIONS = tuple(
    f"$JS.API.STREAM.{verb}.DEAD_LETTERS" for verb in ("INFO", "MSG.GET", "MSG.DELETE", "PURGE")
)
"""What the ledger may do with the dead letters, which it alone writes: count, show, replay and discard them."""


STREAM_POSITION = "$JS.API.STREAM.INFO.ATTEMPTS"
"""How far the stream of attempts is: leases are released by it."""

TRACE_READS = "$JS.API.DIRECT.GET.TRACES"
"""The ledger answers what a trace consists of."""

LIVE_READS = ("$JS.API.STREAM.INFO.LIVE", "$JS.API.DIRECT.GET.LIVE")
LIVE_EVENTS = "kflive."
"""What the console may read of the events that it passes on to pages."""


def should_publish(user: str, subject: str) -> bool:
    """Return whether the topology lets `user` publish on this literal subject."""
    role = role_of(user)
    if role is Role.PROVISIONER or (role is Role.OPERATOR and subject == "kf.v1.server.health"):
        return True
    if subject == "kf.v1.server.identify":
        return role in SERVICES
    if role is Role.USAGE_LEDGER and subject in (*DEAD_LETTER_OPERATIONS, STREAM_POSITION, TRACE_READS):
        return True
    if role is Role.CONSOLE and subject in LIVE_READS:
        return True
    if role in FRAME_PUBLISHERS and _below(FRAME_INBOXES, subject):
        return True
    return (
        any(
            _named(subject_, user, publishing=True).fullmatch(subject)
            for subject_ in SUBJECTS
            if role in subject_.publishers
        )
        or any(
            _pulls(consumer.stream, consumer.durable, subject) for consumer in CONSUMERS if consumer.subscriber is role
        )
        or any(_below((f"$KV.{bucket.name}.",), subject) for bucket in BUCKETS if bucket.owner is role)
        or any(
            subject in (f"$JS.API.DIRECT.GET.KV_{bucket.name}", f"$JS.API.STREAM.INFO.KV_{bucket.name}")
            for bucket in BUCKETS
            if role in (bucket.owner, *bucket.readers)
        )
    )


def should_subscribe(user: str, pattern: str, queue: str | None) -> bool:
    """Return whether the topology lets `user` subscribe to `pattern` in `queue`, or without a queue."""
    role = role_of(user)
    if role is Role.PROVISIONER or _below((f"{inbox_prefix(user)}.",), pattern):
        return True
    if role is Role.CONSOLE and _below((LIVE_EVENTS,), pattern):
        return True
    return any(
        _named(subject, user, publishing=False).fullmatch(pattern) and subject.queue in (None, queue)
        for subject in SUBJECTS
        if role in subject.subscribers and subject.kind is not SubjectKind.STREAM
    ) or any(_below((f"kfview.{bucket.name}.",), pattern) for bucket in BUCKETS if role in bucket.readers)


@functools.cache
def _named(subject: AnySubject, user: str, *, publishing: bool) -> re.Pattern[str]:
    """Return a pattern of the subject with this user's own name where required, and any one token elsewhere.

    The server treats `*` and a trailing `>` of a requested subscription as tokens when it looks for a right that covers it.
    """
    fixed = _fixed(user, publishing=publishing)
    tokens = subject.template.split(".")
    return re.compile(r"\.".join(_token(token, fixed) for token in tokens))


def _fixed(user: str, *, publishing: bool) -> Mapping[str, str]:
    fixed = {name: user for name, role in NAMED_AFTER.items() if role is role_of(user)}
    if publishing:
        fixed[PUBLISHERS_NAME] = user
    if tenant := tenant_of(user):
        fixed["tenant"] = tenant
    return fixed


def _token(token: str, fixed: Mapping[str, str]) -> str:
    if not token.startswith("{"):
        return re.escape(token)
    name = token[1:-1]
    return re.escape(fixed[name]) if name in fixed else r"[^.]+"


def _pulls(stream: str, durable: str, subject: str) -> bool:
    exact = (f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}", f"$JS.API.CONSUMER.INFO.{stream}.{durable}")
    return subject in exact or _below((f"$JS.ACK.{stream}.{durable}.",), subject)


def _below(prefixes: tuple[str, ...], subject: str) -> bool:
    return any(subject.startswith(prefix) and len(subject) > len(prefix) for prefix in prefixes)
