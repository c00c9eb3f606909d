"""Every subject and subscription that a user can attempt, and which of them the server refuses.

The subjects are those of the topology, with every user's name in them, and those that NATS itself provides.
"""

import functools
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import nats
from nats.aio.client import Client

from keyferry.contracts import topology
from keyferry.contracts.topology import BUCKETS, STREAMS, SUBJECTS, AnySubject, Role
from tests.support.servers.provisioned_bus import ProvisionedBus

WORKER_SLOTS = 2
CLIENTS = [topology.internal_client(tenant, name) for tenant, name in (("acme", "crm"), ("acme", "mail"), ("a-b", "c"))]
USERS = topology.users(WORKER_SLOTS, CLIENTS)
WRONG_QUEUE = "eavesdroppers"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_STRANGER = "stranger"
_TENANTS = ("acme", "a-b", _STRANGER)
_NAMES = (*USERS, _STRANGER)
_VALUES = {"tenant": _TENANTS, "worker": _NAMES, "router": _NAMES, "service": _NAMES}
_STREAM_VERBS = (
    "STREAM.CREATE.{0}",
    "STREAM.UPDATE.{0}",
    "STREAM.DELETE.{0}",
    "STREAM.INFO.{0}",
    "STREAM.PURGE.{0}",
    "STREAM.MSG.DELETE.{0}",
    "STREAM.MSG.GET.{0}",
    "STREAM.SNAPSHOT.{0}",
    "STREAM.RESTORE.{0}",
    "CONSUMER.CREATE.{0}",
    "CONSUMER.CREATE.{0}.mine",
    "CONSUMER.CREATE.{0}.mine.filter",
    "CONSUMER.DURABLE.CREATE.{0}.mine",
    "CONSUMER.NAMES.{0}",
    "CONSUMER.LIST.{0}",
    "DIRECT.GET.{0}",
    "DIRECT.GET.{0}.some.subject",
)
_CONSUMER_VERBS = ("MSG.NEXT", "INFO", "DELETE", "PAUSE", "UNPIN", "RESET")
_SERVERS_OWN = (
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.LIST",
    "$JS.API.STREAM.TEMPLATE.NAMES",
    "$JS.FC.some.flow",
    "$JS.EVENT.ADVISORY.API",
    "$SYS.REQ.SERVER.PING",
    "$SYS.REQ.SERVER.PING.HEALTHZ",
    "$SYS.REQ.USER.INFO",
    "$SYS.ACCOUNT.KEYFERRY.CONNECT",
    "$SYS._INBOX.x",
    "$SRV.PING",
    "$O.bucket.C.object",
    "$MQTT.sub.x",
    "_INBOX.x.y",
    "_R_.x.y",
    "some.subject",
    "kflive.kf.v1.key.changed.acme",
    "kf.v1.no.such",
    "kf.v1.server.health",
    "kf.v1.server.identify",
    "kf.v1.server.other",
    "kf.v2.chat.request.acme",
)
_WIDE = (
    *(">", "*", "*.>", "*.*", "kf.>", "kf.*.>", "kf.v1.>", "kf.v1.*.*", "kf.v1.*.*.*", "*.v1.service.ping"),
    *(
        "kflive.>",
        "kflive.kf.>",
        "kfview.>",
        "kfview.*.>",
        "$KV.>",
        "$KV.*.>",
        "$JS.>",
        "$JS.API.>",
        "$JS.ACK.>",
        "$SYS.>",
        "$SRV.>",
    ),
    *("_INBOX.>", "_INBOX_c.>", "_INBOX_c.*.>", "_INBOX_c.internal-client.>", "_INBOX_c.internal-client.acme.>"),
)


def named(subject: AnySubject) -> Iterator[str]:
    """Return this subject with every combination of names in its placeholders."""
    placeholders = _PLACEHOLDER.findall(subject.template)
    for values in itertools.product(*(_VALUES.get(name, ("something",)) for name in placeholders)):
        yield subject.format(**dict(zip(placeholders, values, strict=True)))


@functools.cache
def literal_subjects() -> tuple[str, ...]:
    """Return every literal subject that is attempted, once each."""
    return tuple(
        dict.fromkeys(
            itertools.chain(
                itertools.chain.from_iterable(map(named, SUBJECTS)), _inboxes(), _jetstream(), _buckets(), _SERVERS_OWN
            )
        )
    )


@functools.cache
def subscriptions() -> tuple[tuple[str, str | None], ...]:
    """Return every pattern that is attempted, without a queue, with its own queue and with a wrong one."""
    literal = literal_subjects()
    patterns_of_subjects = [subject.pattern() for subject in SUBJECTS]
    patterns = dict.fromkeys(
        [*literal, *patterns_of_subjects, *itertools.chain.from_iterable(map(_widened, literal)), *_WIDE]
    )
    return tuple((pattern, queue) for pattern in patterns for queue in _queues(pattern))


async def refused_publications(bus: ProvisionedBus, user: str, subjects: Iterable[str]) -> set[str]:
    """Return the subjects on which the server refuses publications of `user`."""
    attempted = {_key("publish", subject): subject for subject in subjects}
    async with Connection(bus, user) as connection:
        for subject in attempted.values():
            await connection.client.publish(subject, b"")
        return {attempted[refusal] for refusal in await connection.refusals()}


async def refused_subscriptions(
    bus: ProvisionedBus, user: str, wanted: Iterable[tuple[str, str | None]]
) -> set[tuple[str, str | None]]:
    """Return the subscriptions (pattern, queue) that the server refuses to `user`."""
    attempted = {_key("subscription", pattern, queue): (pattern, queue) for pattern, queue in wanted}
    async with Connection(bus, user) as connection:
        for pattern, queue in attempted.values():
            await connection.client.subscribe(pattern, queue=queue or "")
        return {attempted[refusal] for refusal in await connection.refusals()}


@dataclass
class Connection:
    """A user's connection, and what the server refuses on it."""

    bus: ProvisionedBus
    user: str

    async def __aenter__(self) -> "Connection":
        self._refused: list[str] = []
        self.client: Client = await nats.connect(
            self.bus.nats_url,
            nkeys_seed_str=self.bus.seed_file(self.user).read_text(),
            inbox_prefix=topology.inbox_prefix(self.user).encode(),
            allow_reconnect=False,
            error_cb=self._note,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()

    async def _note(self, error: Exception) -> None:
        self._refused.append(str(error))

    async def refusals(self) -> list[str]:
        """Return all refusals: the server answers a ping after refusing what came before it, and nats-py reads in order.

        `flush` sends its ping ahead of what is still in the client's own buffer, so that has to be empty first.
        """
        while self.client.pending_data_size:
            await self.client.flush(timeout=60)
        await self.client.flush(timeout=60)
        assert self.client.is_connected, f"the server disconnected {self.user}: {self._refused[-1:]}"
        return self._refused


def _key(kind: str, subject: str, queue: str | None = None) -> str:
    """Return the server's error for a refusal as nats-py passes it on, in lower case."""
    in_queue = f' using queue "{queue}"' if queue else ""
    return f'nats: permissions violation for {kind} to "{subject}"{in_queue}'.lower()


def _inboxes() -> Iterator[str]:
    for user in USERS:
        yield from (f"{topology.inbox_prefix(user)}.x", f"{topology.inbox_prefix(user)}.x.y")
        yield f"{topology.inbox_prefix(user)}x.y"


def _jetstream() -> Iterator[str]:
    for stream in (*(stream.name for stream in STREAMS), *(bucket.stream for bucket in BUCKETS)):
        yield from (f"$JS.API.{verb.format(stream)}" for verb in _STREAM_VERBS)
        for durable in (*Role, "mine"):
            yield from (f"$JS.API.CONSUMER.{verb}.{stream}.{durable}" for verb in _CONSUMER_VERBS)
            yield f"$JS.ACK.{stream}.{durable}.1.2.3.4.5"


def _buckets() -> Iterator[str]:
    for bucket in BUCKETS:
        yield from (f"$KV.{bucket.name}.acme", f"$KV.{bucket.name}.acme.key", f"{bucket.view_prefix}acme")


def _widened(subject: str) -> Iterator[str]:
    """Return the subject with a wildcard in place of each token, and truncated at each token."""
    tokens = subject.split(".")
    for at in range(1, len(tokens)):
        yield ".".join([*tokens[:at], "*", *tokens[at + 1 :]])
        yield ".".join([*tokens[:at], ">"])


def _queues(pattern: str) -> Iterator[str | None]:
    """Return None, a wrong queue, and the subject's own queue if it has one."""
    yield from (None, WRONG_QUEUE)
    about = ".".join(pattern.split(".")[2:4])
    yield from {subject.queue for subject in SUBJECTS if subject.name == about and subject.queue}
