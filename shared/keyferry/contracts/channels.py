"""The kinds of things that the topology is made of: roles, subjects, streams, consumers and buckets."""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Role(StrEnum):
    """Who connects to the bus. Each process role is a NATS user of its own; worker slots are one user each."""

    INGRESS = "ingress"
    ROUTER = "router"
    PROVIDER_WORKER = "provider-worker"
    USAGE_LEDGER = "usage-ledger"
    TENANT_DIRECTORY = "tenant-directory"
    HEALTH_MONITOR = "health-monitor"
    KEY_VAULT = "key-vault"
    CONSOLE = "console"
    INTERNAL_CLIENT = "internal-client"
    """A program of one tenant that calls over the bus instead of over HTTP; each is a user of its own."""
    OPERATOR = "operator"
    """The command line, with the installation's operator credentials."""
    PROVISIONER = "provisioner"
    """The step that makes streams, consumers and buckets; nobody else may."""


SERVICES = (
    Role.TENANT_DIRECTORY,
    Role.USAGE_LEDGER,
    Role.HEALTH_MONITOR,
    Role.KEY_VAULT,
    Role.ROUTER,
    Role.PROVIDER_WORKER,
    Role.INGRESS,
    Role.CONSOLE,
)


class Transport(StrEnum):
    """How a message travels and what survives."""

    CORE = "core"
    """Held by nobody; a caller waits or does without."""
    REQUEST = "request"
    """Core, with a reply to the caller's inbox."""
    STREAM = "stream"
    """Kept by JetStream until its limits."""


class Lane(StrEnum):
    """How a service subscribes."""

    FRAMEWORK = "framework"
    """A FastStream subscriber."""
    HOT = "hot"
    """A raw subscription on the same connection: the framework's pipeline costs several times the work itself there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One kind of message and its way."""

    template: str
    message: type[BaseModel]
    publishers: tuple[Role, ...]
    subscribers: tuple[Role, ...]
    transport: Transport
    summary: str
    reply: type[BaseModel] | None = None
    queue: str | None = None
    stream: str | None = None
    lane: Lane = Lane.FRAMEWORK

    def at(self, **values: str) -> str:
        """The subject for these placeholder values. Raises KeyError for a missing one."""
        return _PLACEHOLDER.sub(lambda match: values[match[1]], self.template)

    def pattern(self, **values: str) -> str:
        """The subject to subscribe or permit: given values filled in, every other placeholder a wildcard."""
        return _PLACEHOLDER.sub(lambda match: values.get(match[1], "*"), self.template)

    def addressed(self, message: BaseModel, **values: str) -> str:
        """The subject that `message` goes to: a placeholder that is not in `values` is the message's field of that name.

        Raises AttributeError for a placeholder that is neither.
        """
        return _PLACEHOLDER.sub(lambda match: values.get(match[1]) or str(getattr(message, match[1])), self.template)

    def agrees(self, subject: str, message: BaseModel) -> bool:
        """Whether `message` says the same as the subject it came on, wherever it has a field of a placeholder's name.

        `{worker}` is told by a field `worker` or `worker_id`. The bus checks who may publish to which tenant's or worker's
        subject, so the message must not say otherwise.
        """
        told = subject.split(".")
        return all(
            getattr(message, part[1:-1], getattr(message, f"{part[1:-1]}_id", told[at])) == told[at]
            for at, part in enumerate(self.template.split("."))
            if part.startswith("{")
        )

    @property
    def name(self) -> str:
        """`noun.verb`."""
        return ".".join(self.template.split(".")[2:4])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A JetStream stream. Retention is always by limits, so that a second reader and a replay stay possible."""

    name: str
    max_age: timedelta
    max_bytes: int
    synced: bool
    """Whether every acknowledged message is on disk. The server syncs always; a stream that is not synced opts out."""
    duplicate_window: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """A durable pull consumer."""

    stream: str
    subscriber: Role
    ack_wait: timedelta = timedelta(seconds=60)
    max_ack_pending: int = 2000

    @property
    def durable(self) -> str:
        """Its name."""
        return self.subscriber.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A KV bucket that its owner writes and that others follow as a view (`kfview.<name>.>`)."""

    name: str
    owner: Role
    readers: tuple[Role, ...]
    message: type[BaseModel]
    summary: str
    max_bytes: int = 256 * 1024 * 1024

    @property
    def stream(self) -> str:
        """The JetStream stream behind it."""
        return f"KV_{self.name}"

    def key_subject(self, key: str) -> str:
        """The subject that writes `key`."""
        return f"$KV.{self.name}.{key}"

    @property
    def view_prefix(self) -> str:
        """What republished keys start with."""
        return f"kfview.{self.name}."
