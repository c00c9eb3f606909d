"""What the topology gives each NATS user, stated from speakers, hearers, owners and readers alone.

This is the second opinion beside `keyferry.contracts.permissions`, with which it shares nothing but the map: nothing here
reads a permission pattern.
"""

import functools
import re
from collections.abc import Mapping

from keyferry.contracts.topology import (
    BUCKETS,
    CONSUMERS,
    FRAME_INBOXES,
    FRAME_PUBLISHERS,
    SUBJECTS,
    AnySubject,
    Role,
    SubjectKind,
    inbox_prefix,
    role_of,
    tenant_of,
)

NAMED_AFTER = {"worker": Role.PROVIDER_WORKER, "router": Role.ROUTER}
"""Placeholders that hold the name of a user with this role, whether it speaks or is spoken to."""
SPEAKERS_NAME = "service"
"""The placeholder that holds whoever speaks."""


def should_publish(user: str, subject: str) -> bool:
    """Whether `user` has a reason in the topology to publish on this literal subject."""
    role = role_of(user)
    if role is Role.PROVISIONER:
        return True
    if role in FRAME_PUBLISHERS and _below(FRAME_INBOXES, subject):
        return True
    return (
        any(_named(spoken, user, speaking=True).fullmatch(subject) for spoken in SUBJECTS if role in spoken.publishers)
        or any(
            _pulls(consumer.stream, consumer.durable, subject) for consumer in CONSUMERS if consumer.subscriber is role
        )
        or any(_below((f"$KV.{bucket.name}.",), subject) for bucket in BUCKETS if bucket.owner is role)
        or any(
            subject == f"$JS.API.DIRECT.GET.KV_{bucket.name}"
            for bucket in BUCKETS
            if role in (bucket.owner, *bucket.readers)
        )
    )


def should_subscribe(user: str, pattern: str, queue: str | None) -> bool:
    """Whether `user` has a reason to subscribe to `pattern`, as a member of `queue` or beside every queue."""
    role = role_of(user)
    if role is Role.PROVISIONER or _below((f"{inbox_prefix(user)}.",), pattern):
        return True
    return any(
        _named(heard, user, speaking=False).fullmatch(pattern) and heard.queue in (None, queue)
        for heard in SUBJECTS
        if role in heard.subscribers and heard.kind is not SubjectKind.STREAM
    ) or any(_below((f"kfview.{bucket.name}.",), pattern) for bucket in BUCKETS if role in bucket.readers)


@functools.cache
def _named(subject: AnySubject, user: str, *, speaking: bool) -> re.Pattern[str]:
    """The subject with this user's own name where it must stand, and any one token elsewhere.

    To the server `*` and a trailing `>` of what is asked for are tokens as well, when it looks for a right that covers them.
    """
    fixed = _fixed(user, speaking=speaking)
    tokens = subject.template.split(".")
    return re.compile(r"\.".join(_token(token, fixed) for token in tokens))


def _fixed(user: str, *, speaking: bool) -> Mapping[str, str]:
    fixed = {name: user for name, role in NAMED_AFTER.items() if role is role_of(user)}
    if speaking:
        fixed[SPEAKERS_NAME] = user
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
