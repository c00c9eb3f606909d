"""The permissions of each NATS user, derived from the topology alone. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from keyferry.contracts.live_events import LIVE
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    BUCKETS,
    CONSUMERS,
    FRAME_INBOXES,
    FRAME_PUBLISHERS,
    RECORD_REJECTED,
    SERVER_HEALTH,
    SERVER_IDENTITY,
    SERVICES,
    Role,
    SubjectKind,
    inbox_prefix,
    publications_of,
    role_of,
    subscriptions_of,
    tenant_of,
)
from keyferry.contracts.traces import TRACES


@dataclass(frozen=True, slots=True)
class Permissions:
    """A NATS user's rights. `subject queue` allows a subscription in that queue group only."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    responds: bool
    unrestricted: bool = False
    response_seconds: int = 0
    """How long after a request its answer may be sent; the server refuses a later one, and the requester waits in vain."""


_SHORT_RESPONSE_SECONDS = 60
"""Longer than those who ask wait, but for the longest requests. The server keeps an entry for each request to a role that answers
for so long, and routers and workers get thousands per second."""
_LONG_RESPONSE_SECONDS = {Role.KEY_VAULT: 300, Role.USAGE_LEDGER: 300}
"""Testing a key, or verifying every record or the whole audit log, may take minutes."""


_DEAD_LETTER_OPERATIONS = tuple(
    f"$JS.API.STREAM.{operation}.{RECORD_REJECTED.stream}" for operation in ("INFO", "MSG.GET", "MSG.DELETE", "PURGE")
)

_LIVE_OPERATIONS = tuple(f"$JS.API.{operation}.{LIVE.name}" for operation in ("STREAM.INFO", "DIRECT.GET"))


def permissions(user: str) -> Permissions:
    """Return the exact rights of a NATS user.

    Only the provisioner may create consumers: a user that can do so can make the server publish anywhere on its behalf.
    """
    role = role_of(user)
    if role is Role.PROVISIONER:
        return Permissions(publish=(">",), subscribe=(">",), responds=False, unrestricted=True)
    return Permissions(
        publish=tuple(dict.fromkeys(_publishable(role, user))),
        subscribe=tuple(dict.fromkeys(_subscribable(role, user))),
        responds=any(subject.kind is SubjectKind.REQUEST for subject in subscriptions_of(role)),
        response_seconds=_LONG_RESPONSE_SECONDS.get(role, _SHORT_RESPONSE_SECONDS),
    )


def _own_placeholders(user: str) -> dict[str, str]:
    """Return the placeholders that stand for the user itself, so that no user publishes for another user or tenant.

    Each stands for the users of one role and is a wildcard for the others, such as the worker that the ledger confirms to.
    """
    role, tenant = role_of(user), tenant_of(user)
    named = {Role.PROVIDER_WORKER: {"worker": user}, Role.ROUTER: {"router": user}}.get(role, {})
    return named | {"service": user} | ({"tenant": tenant} if tenant else {})


def _publishable(role: Role, user: str) -> Iterator[str]:
    own = _own_placeholders(user)
    for subject in publications_of(role):
        yield subject.pattern(**own)
    if role in FRAME_PUBLISHERS:
        yield from (f"{prefix}>" for prefix in FRAME_INBOXES)
    yield from (SERVER_HEALTH,) if role is Role.OPERATOR else ()
    yield from (SERVER_IDENTITY,) if role in SERVICES else ()
    for consumer in CONSUMERS:
        if consumer.subscriber is role:
            yield f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}"
            yield f"$JS.API.CONSUMER.INFO.{consumer.stream}.{consumer.durable}"
            yield f"$JS.ACK.{consumer.stream}.{consumer.durable}.>"
    if role is Role.USAGE_LEDGER:
        yield f"$JS.API.STREAM.INFO.{ATTEMPT_FINISHED.stream}"
        yield f"$JS.API.DIRECT.GET.{TRACES.name}"
    yield from _LIVE_OPERATIONS if role is Role.CONSOLE else ()
    yield from _DEAD_LETTER_OPERATIONS if role in RECORD_REJECTED.publishers else ()
    for bucket in BUCKETS:
        if bucket.owner is role:
            yield bucket.key_subject(">")
        if role is bucket.owner or role in bucket.readers:
            yield from (f"$JS.API.{operation}.{bucket.stream}" for operation in ("DIRECT.GET", "STREAM.INFO"))


def _subscribable(role: Role, user: str) -> Iterator[str]:
    own = _own_placeholders(user)
    yield f"{inbox_prefix(user)}.>"
    for subject in subscriptions_of(role):
        if subject.kind is not SubjectKind.STREAM:
            pattern = subject.pattern(**own)
            yield f"{pattern} {subject.queue}" if subject.queue else pattern
    for bucket in BUCKETS:
        if role in bucket.readers:
            yield f"{bucket.view_prefix}>"
    if role is Role.CONSOLE:
        yield f"{LIVE.republished_to}>"
