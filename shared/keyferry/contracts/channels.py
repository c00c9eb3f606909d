"""What the topology is made of: roles, subjects, streams, consumers and buckets. Pure."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar, cast

from keyferry.contracts.envelope import Message

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_READING_VERBS = frozenset(
    {
        "analyze",
        "break",
        "compare",
        "compute",
        "estimate",
        "explain",
        "forecast",
        "get",
        "list",
        "preview",
        "show",
        "status",
        "sum",
        "summarize",
        "versions",
    }
)
"""The first words of verbs of requests that change nothing."""

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message | None)
E = TypeVar("E", bound=Message)


class Role(StrEnum):
    """A kind of bus client. Each process role is one NATS user; each worker slot is a user of its own."""

    INGRESS = "ingress"
    ROUTER = "router"
    PROVIDER_WORKER = "provider-worker"
    USAGE_LEDGER = "usage-ledger"
    TENANT_DIRECTORY = "tenant-directory"
    HEALTH_MONITOR = "health-monitor"
    KEY_VAULT = "key-vault"
    CONSOLE = "console"
    BILLING = "billing"
    """Payments and metering by other companies, and providers' own figures; never needed for a request."""
    NOTIFIER = "notifier"
    """E-mail, Slack, tenants' webhooks and scheduled reports; never needed for a request."""
    INTERNAL_CLIENT = "internal-client"
    """A tenant's program that calls over the bus instead of HTTP; each is a user of its own."""
    OPERATOR = "operator"
    """The command line, with the installation's operator credentials."""
    PROVISIONER = "provisioner"
    """The step that creates streams, consumers and buckets; no other role may."""


SERVICES = (
    Role.TENANT_DIRECTORY,
    Role.USAGE_LEDGER,
    Role.HEALTH_MONITOR,
    Role.KEY_VAULT,
    Role.ROUTER,
    Role.PROVIDER_WORKER,
    Role.INGRESS,
    Role.CONSOLE,
    Role.BILLING,
    Role.NOTIFIER,
)


class SubjectKind(StrEnum):
    """The messaging pattern of a subject."""

    CORE = "core"
    """Core NATS, fire and forget."""
    REQUEST = "request"
    """Core NATS with a reply to the caller's inbox."""
    STREAM = "stream"
    """Stored by JetStream up to the stream's limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject(Generic[Q, R]):
    """A subject, its message type `Q` and its reply type `R` (None where no reply is decoded)."""

    template: str
    message: type[Q]
    publishers: tuple[Role, ...]
    subscribers: tuple[Role, ...]
    kind: SubjectKind
    summary: str
    reply: type[R] | None = None
    queue: str | None = None
    stream: str | None = None
    fast_path: bool = False
    """Served by a raw subscription: the framework's pipeline would cost several times the work itself."""

    def format(self, **values: str) -> str:
        """Return the subject with every placeholder filled in. Raises KeyError for a missing value."""
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.template)

    def pattern(self, **values: str) -> str:
        """Return the subject to subscribe to or permit: placeholders without a value become wildcards."""
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], "*"), self.template)

    def address(self, message: Message, **values: str) -> str:
        """Return the subject for `message`: a placeholder that is not in `values` is the message's field of that name.

        Raises AttributeError for a placeholder that is neither.
        """
        return _PLACEHOLDER.sub(lambda match: values.get(match[1]) or str(getattr(message, match[1])), self.template)

    def matches(self, subject: str, message: Message) -> bool:
        """Return whether `message` agrees with the subject it arrived on, in every field named like a placeholder.

        The server checks who may publish to a tenant's or worker's subject, so the message must not name another one.
        """
        return agree(subject, message, self.checked_fields)

    def position(self, placeholder: str) -> int:
        """Return which token of the subject stands for a placeholder, counted from 0. Raises ValueError for none."""
        return self.template.split(".").index(f"{{{placeholder}}}")

    @property
    def checked_fields(self) -> tuple[tuple[int, str], ...]:
        """Positions of subject tokens with the message fields that must equal them: `{worker}` is `worker` or `worker_id`."""
        fields = self.message.model_fields
        return tuple(
            (position, name)
            for position, token in enumerate(self.template.split("."))
            if token.startswith("{")
            for name in (token[1:-1], f"{token[1:-1]}_id")
            if name in fields
        )

    def decode_reply(self, data: bytes) -> R:
        """Return the decoded reply. Raises MalformedMessage, and TypeError for a subject without one."""
        if self.reply is None:
            raise TypeError(f"{self.name} has no reply")
        reply: R = cast(Any, self.reply).decode(data)
        return reply

    @property
    def name(self) -> str:
        """The `noun.verb` part of the subject."""
        return ".".join(self.template.split(".")[2:4])

    @property
    def only_reads(self) -> bool:
        """Whether a request on this subject changes nothing, so that it may be handled twice."""
        verb = self.template.split(".")[3]
        return self.kind is SubjectKind.REQUEST and verb.partition("_")[0] in _READING_VERBS


AnySubject: TypeAlias = Subject[Any, Any]


def agree(subject: str, message: Message, checked_fields: tuple[tuple[int, str], ...]) -> bool:
    """Return whether each of these fields of `message` equals its token of `subject`, as `Subject.matches` does."""
    tokens = subject.split(".")
    for position, name in checked_fields:  # noqa: SIM110 - `all` over a generator takes four times as long
        if getattr(message, name) != tokens[position]:
            return False
    return True


def request(
    template: str,
    message: type[Q],
    reply: type[R],
    *,
    publishers: tuple[Role, ...],
    subscribers: tuple[Role, ...],
    summary: str,
    queue: str | None = None,
    fast_path: bool = False,
) -> Subject[Q, R]:
    """Return a subject whose messages are answered with one `reply`."""
    return Subject(
        template=template,
        message=message,
        reply=reply,
        publishers=publishers,
        subscribers=subscribers,
        kind=SubjectKind.REQUEST,
        summary=summary,
        queue=queue,
        fast_path=fast_path,
    )


def manage(template: str, message: type[Q], reply: type[R], owner: Role, summary: str) -> Subject[Q, R]:
    """Return a request from the operator or the console that any process of the owner answers."""
    publishers = (Role.OPERATOR, Role.CONSOLE)
    return request(
        template, message, reply, publishers=publishers, subscribers=(owner,), queue=owner.value, summary=summary
    )


def event(
    template: str,
    message: type[Q],
    *,
    publishers: tuple[Role, ...],
    subscribers: tuple[Role, ...] = (),
    stream: str,
    summary: str,
) -> Subject[Q, None]:
    """Return a subject whose messages are stored in `stream`."""
    return Subject(
        template=template,
        message=message,
        publishers=publishers,
        subscribers=subscribers,
        kind=SubjectKind.STREAM,
        summary=summary,
        stream=stream,
    )


def core(
    template: str,
    message: type[Q],
    *,
    publishers: tuple[Role, ...],
    subscriber: Role,
    summary: str,
    queue: str | None = None,
) -> Subject[Q, None]:
    """Return a subject on the fast path whose messages are not stored and have no decoded reply."""
    return Subject(
        template=template,
        message=message,
        publishers=publishers,
        subscribers=(subscriber,),
        kind=SubjectKind.CORE,
        summary=summary,
        queue=queue,
        fast_path=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A JetStream stream. Retention is always by limits, so that a second consumer and a replay stay possible."""

    name: str
    max_age: timedelta
    max_bytes: int
    synced: bool
    """Whether every acknowledged message is on disk. The server always syncs; a stream that is not synced opts out."""
    duplicate_window: timedelta = timedelta(minutes=2)
    counters: bool = False
    """Whether each subject is a counter: a publish adds the header `Nats-Incr` to it, and the acknowledgement has its value."""
    drops_oldest: bool = False
    """Whether the oldest messages make way for new ones in a full stream; else it takes no more."""
    republished_to: str | None = None
    """The prefix of the subjects on which the server republishes each message with its number; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A durable pull consumer."""

    stream: str
    subscriber: Role
    ack_wait: timedelta = timedelta(seconds=20)
    """What was delivered on a connection that broke comes again only then. Who handles it for longer says so meanwhile."""
    max_ack_pending: int = 2000
    moved: tuple[AnySubject, ...] = ()
    """Subjects that an earlier build stored in this stream: what it has of them is read to the end."""

    @property
    def durable(self) -> str:
        """The durable name."""
        return self.subscriber.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Generic[E]):
    """A KV bucket that its owner writes and its readers replicate as a view (`kfview.<name>.>`)."""

    name: str
    owner: Role
    readers: tuple[Role, ...]
    message: type[E]
    summary: str
    by_tenant: bool = False
    """Whether each key begins with the tenant that its entry names in `tenant`, up to the first dot or the end."""
    max_bytes: int = 256 * 1024 * 1024

    @property
    def stream(self) -> str:
        """The JetStream stream that stores the bucket."""
        return f"KV_{self.name}"

    def key_subject(self, key: str) -> str:
        """Return the subject that writes `key`."""
        return f"$KV.{self.name}.{key}"

    @property
    def view_prefix(self) -> str:
        """The prefix of the subjects on which changes are republished."""
        return f"kfview.{self.name}."
