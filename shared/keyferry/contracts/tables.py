"""The topology as Markdown tables, for the architecture documents. Pure."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from keyferry.contracts.asyncapi import encoding
from keyferry.contracts.permissions import permissions
from keyferry.contracts.topology import (
    BUCKETS,
    CONSUMERS,
    FRAME_INBOXES,
    FRAME_PUBLISHERS,
    FRAMES,
    STREAMS,
    SUBJECTS,
    AnySubject,
    Role,
    SubjectKind,
    internal_client,
    worker_id,
)

_GENERATED = "<!-- Rendered from the topology by `python -m keyferry.contracts.render`; do not edit. -->"
_MIB = 1024**2
_SUBJECTS_INTRODUCTION = """\
Every subject with its message, publishers and subscribers. A placeholder in braces is one subject token. The messages' schemas
are in `shared/keyferry/contracts/schemas/`; `asyncapi.json` beside this page is the machine-readable form. A request that its
owner does not carry out is answered with `{"refusal": Refusal}`."""
_PERMISSIONS_INTRODUCTION = """\
Each process role is a NATS user with its own nkey, and so is each worker slot (the first is shown here) and each program of a
tenant (`crm` of `acme` is shown here). `subject queue` allows a subscription in that queue group only."""


def subjects_page() -> str:
    """Return the page of subjects, frames, streams, consumers and buckets."""
    parts = [
        _GENERATED,
        "# Messages on the bus",
        _SUBJECTS_INTRODUCTION,
        _table(
            ("Subject", "Message → answer", "From", "To", "Durability", "Queue", "Description"), map(_subject, SUBJECTS)
        ),
        "## Frames",
        _frames(),
        "## Streams",
        _table(
            ("Stream", "Retention", "Max. size", "On disk before acknowledgement"),
            (
                (
                    stream.name,
                    _span(stream.max_age),
                    f"{stream.max_bytes // _MIB} MiB",
                    "yes" if stream.synced else "no",
                )
                for stream in STREAMS
            ),
        ),
        "## Consumers",
        _table(
            ("Stream", "Consumer", "Redelivered after", "Max. unacknowledged"),
            (
                (consumer.stream, _code(consumer.durable), _span(consumer.ack_wait), str(consumer.max_ack_pending))
                for consumer in CONSUMERS
            ),
        ),
        "## Buckets",
        _table(
            ("Bucket", "Message", "Owner", "Readers", "Description"),
            ((_code(b.name), b.message.__name__, b.owner.value, _roles(b.readers), b.summary) for b in BUCKETS),
        ),
    ]
    return "\n\n".join(parts) + "\n"


def permissions_page() -> str:
    """Return the page of each NATS user's rights."""
    parts = [
        _GENERATED,
        "# Permissions on the bus",
        _PERMISSIONS_INTRODUCTION,
    ]
    for user in map(_example_user, Role):
        rights = permissions(user)
        parts += [
            f"## {user}",
            _table(
                ("May publish", "May subscribe"),
                _side_by_side([_code(s) for s in rights.publish], [_code(s) for s in rights.subscribe]),
            ),
        ]
        if rights.responds:
            parts.append(
                f"May reply once to a request, in the inbox that the request names, within {rights.response_seconds} s."
            )
    return "\n\n".join(parts) + "\n"


def _example_user(role: Role) -> str:
    several = {Role.PROVIDER_WORKER: worker_id(1), Role.INTERNAL_CLIENT: internal_client("acme", "crm")}
    return several.get(role, role.value)


def _subject(subject: AnySubject) -> tuple[str, ...]:
    message = f"{subject.message.__name__}{_describe_encoding(subject)}"
    return (
        _code(subject.template),
        f"{message} → {subject.reply.__name__}" if subject.reply else message,
        _roles(subject.publishers),
        _roles(subject.subscribers) or "none",
        f"stream {subject.stream}" if subject.kind is SubjectKind.STREAM else subject.kind.value,
        _code(subject.queue) if subject.queue else "",
        subject.summary,
    )


def _frames() -> str:
    inboxes = ", ".join(_code(f"{prefix}>") for prefix in FRAME_INBOXES)
    kinds = ", ".join(model.__name__ for model in FRAMES)
    return f"Answers to chat requests go from {_roles(FRAME_PUBLISHERS)} to the caller's inbox ({inboxes}) as frames: {kinds}."


def _describe_encoding(subject: AnySubject) -> str:
    return {"batch": " (in batches)", "head-body": " + body"}.get(encoding(subject), "")


def _roles(roles: Sequence[Role]) -> str:
    return ", ".join(role.value for role in roles)


def _code(text: str) -> str:
    return f"`{text}`"


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span.days else f"{span.seconds} s"


def _side_by_side(left: Sequence[str], right: Sequence[str]) -> Iterable[tuple[str, str]]:
    for index in range(max(len(left), len(right))):
        yield (left[index] if index < len(left) else "", right[index] if index < len(right) else "")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
