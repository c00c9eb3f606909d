"""Who says what to whom, over which subject, how durably. No subject is spelled anywhere else.

From this map come the NATS streams, consumers, buckets and permissions (`permissions`), the AsyncAPI document and the table
in the docs (`python -m keyferry.contracts.render`). Subjects read `kf.v1.<noun>.<verb>`: commands in the
imperative, events in the past tense. A placeholder in braces is one subject token.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel

from keyferry.contracts import chat, frames, health, route, service, tenancy, usage
from keyferry.contracts.ids import is_tenant_id

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""`max_payload` of the server."""
MAX_REQUEST_BODY_BYTES = 6 * 1024 * 1024
"""Largest body of a chat request: leaves room for the head and for growth on the way."""


class Role(StrEnum):
    """Who connects to the bus. Each process role is a NATS user of its own; worker slots are one user each."""

    INGRESS = "ingress"
    ROUTER = "router"
    PROVIDER_WORKER = "provider-worker"
    USAGE_LEDGER = "usage-ledger"
    TENANT_DIRECTORY = "tenant-directory"
    HEALTH_MONITOR = "health-monitor"
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
    Role.ROUTER,
    Role.PROVIDER_WORKER,
    Role.INGRESS,
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
    speakers: tuple[Role, ...]
    hearers: tuple[Role, ...]
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

        The bus checks who may publish to which tenant's subject, so the message must not say otherwise.
        """
        told = subject.split(".")
        return all(
            getattr(message, part[1:-1], told[at]) == told[at]
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
    hearer: Role
    ack_wait: timedelta = timedelta(seconds=60)
    max_ack_pending: int = 2000

    @property
    def durable(self) -> str:
        """Its name."""
        return self.hearer.value


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


_ASKERS = (Role.INGRESS, Role.INTERNAL_CLIENT, Role.OPERATOR)

CHAT_REQUEST = Subject(
    template="kf.v1.chat.request.{tenant}",
    message=chat.ChatRequest,
    speakers=_ASKERS,
    hearers=(Role.ROUTER,),
    queue="router",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="A chat completion is wanted; the answer goes to the reply inbox as frames.",
)
EMBEDDING_REQUEST = Subject(
    template="kf.v1.embedding.request.{tenant}",
    message=chat.EmbeddingRequest,
    speakers=_ASKERS,
    hearers=(Role.ROUTER,),
    queue="router",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="Embeddings are wanted; the answer goes to the reply inbox as frames, as a chat's does.",
)
ATTEMPT_RUN = Subject(
    template="kf.v1.attempt.run.{provider}",
    message=chat.AttemptRun,
    speakers=(Role.ROUTER,),
    hearers=(Role.PROVIDER_WORKER,),
    queue="provider-worker",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="Make this one provider call and answer the inbox, which the router passes on unchanged.",
)
REQUEST_REROUTE = Subject(
    template="kf.v1.request.reroute.{tenant}",
    message=chat.Reroute,
    speakers=(Role.PROVIDER_WORKER,),
    hearers=(Role.ROUTER,),
    queue="router",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="An attempt failed before anything was delivered: plan anew with fresh facts; the reply inbox is the caller's.",
)
WORKER_PROBE = Subject(
    template="kf.v1.worker.probe.{boot}",
    message=chat.Probe,
    reply=chat.Probed,
    speakers=_ASKERS,
    hearers=(Role.PROVIDER_WORKER,),
    transport=Transport.REQUEST,
    lane=Lane.HOT,
    summary="From a caller to a silent worker process: does it still have these attempts?",
)
WORKER_CONTROL = Subject(
    template="kf.v1.worker.control.{boot}.{tenant}",
    message=chat.Control,
    speakers=_ASKERS,
    hearers=(Role.PROVIDER_WORKER,),
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="From a caller to the worker process that accepted its attempt: cancel, grant credit.",
)
ATTEMPT_FINISHED = Subject(
    template="kf.v1.attempt.finished.{worker}",
    message=usage.AttemptRecord,
    speakers=(Role.PROVIDER_WORKER,),
    hearers=(Role.USAGE_LEDGER, Role.HEALTH_MONITOR),
    transport=Transport.STREAM,
    stream="ATTEMPTS",
    summary="Attempts that ended, in packs: a head line and one record a line.",
)
ATTEMPT_CONFIRMED = Subject(
    template="kf.v1.attempt.confirmed.{worker}",
    message=usage.AttemptsConfirmed,
    speakers=(Role.USAGE_LEDGER,),
    hearers=(Role.PROVIDER_WORKER,),
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="These records are committed; the worker may forget them.",
)
REQUEST_DECIDED = Subject(
    template="kf.v1.request.decided.{router}",
    message=route.DecisionRecord,
    speakers=(Role.ROUTER,),
    hearers=(Role.USAGE_LEDGER,),
    transport=Transport.STREAM,
    stream="DECISIONS",
    summary="What the router knew and chose, refusals included; in packs.",
)
HEALTH_CHANGED = Subject(
    template="kf.v1.health.changed.{provider}",
    message=health.Health,
    speakers=(Role.HEALTH_MONITOR,),
    hearers=(),
    transport=Transport.STREAM,
    stream="CHANGES",
    summary="A circuit opened, began to cool or closed.",
)
RECORD_REJECTED = Subject(
    template="kf.v1.record.rejected.{service}",
    message=service.Refusal,
    speakers=(Role.USAGE_LEDGER,),
    hearers=(),
    transport=Transport.STREAM,
    stream="DEAD_LETTERS",
    summary="A record that fits no contract, set aside with the reason so that its pack goes on.",
)


def _request(template: str, message: type[BaseModel], reply: type[BaseModel], owner: Role, summary: str) -> Subject:
    """A management request: from the operator to the owner, any one process of it."""
    return Subject(
        template=template,
        message=message,
        reply=reply,
        speakers=(Role.OPERATOR,),
        hearers=(owner,),
        queue=owner.value,
        transport=Transport.REQUEST,
        summary=summary,
    )


_DIRECTORY, _ROUTER, _LEDGER = Role.TENANT_DIRECTORY, Role.ROUTER, Role.USAGE_LEDGER
TENANT_CREATE = _request("kf.v1.tenant.create", tenancy.CreateTenant, tenancy.Tenant, _DIRECTORY, "Add a tenant.")
TENANT_UPDATE = _request(
    "kf.v1.tenant.update", tenancy.UpdateTenant, tenancy.Tenant, _DIRECTORY, "Rename, re-tier, suspend a tenant."
)
TENANT_LIST = _request("kf.v1.tenant.list", tenancy.ListTenants, tenancy.Tenants, _DIRECTORY, "All tenants.")
TOKEN_CREATE = _request(
    "kf.v1.token.create",
    tenancy.CreateClientToken,
    tenancy.ClientToken,
    _DIRECTORY,
    "Register a client token by its digest.",
)
TOKEN_REVOKE = _request(
    "kf.v1.token.revoke", tenancy.RevokeClientToken, tenancy.ClientToken, _DIRECTORY, "Revoke a client token."
)
TOKEN_LIST = _request(
    "kf.v1.token.list", tenancy.ListClientTokens, tenancy.ClientTokens, _DIRECTORY, "A tenant's client tokens."
)
ENDPOINT_SAVE = _request(
    "kf.v1.endpoint.save", route.SaveEndpoint, route.Endpoint, _ROUTER, "Add or replace a tenant's own endpoint."
)
ENDPOINT_REMOVE = _request(
    "kf.v1.endpoint.remove", route.RemoveEndpoint, route.Endpoint, _ROUTER, "Remove a tenant's own endpoint."
)
ENDPOINT_LIST = _request(
    "kf.v1.endpoint.list", route.ListEndpoints, route.Endpoints, _ROUTER, "A tenant's own endpoints."
)
MODEL_LIST = Subject(
    template="kf.v1.model.list.{tenant}",
    message=route.ListModels,
    reply=route.Models,
    speakers=_ASKERS,
    hearers=(Role.ROUTER,),
    queue="router",
    transport=Transport.REQUEST,
    summary="What a tenant can call now.",
)
USAGE_SUMMARIZE = _request(
    "kf.v1.usage.summarize", usage.SummarizeUsage, usage.UsageSummary, _LEDGER, "A tenant's usage and cost."
)
ATTEMPT_LIST = _request(
    "kf.v1.attempt.list", usage.GetAttempts, usage.Attempts, _LEDGER, "The attempts of one request."
)
DECISION_GET = _request(
    "kf.v1.decision.get", route.GetDecision, route.Decision, _LEDGER, "The decision record of one request."
)
HEALTH_LIST = _request(
    "kf.v1.health.list", health.ListHealth, health.HealthList, Role.HEALTH_MONITOR, "Health of what a tenant can reach."
)
SERVICE_PING = Subject(
    template="kf.v1.service.ping",
    message=service.Ping,
    reply=service.ServiceReport,
    speakers=(Role.OPERATOR,),
    hearers=SERVICES,
    transport=Transport.REQUEST,
    lane=Lane.HOT,
    summary="Every process of every service reports itself.",
)

SUBJECTS: tuple[Subject, ...] = (
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    ATTEMPT_RUN,
    REQUEST_REROUTE,
    WORKER_CONTROL,
    WORKER_PROBE,
    ATTEMPT_FINISHED,
    ATTEMPT_CONFIRMED,
    REQUEST_DECIDED,
    HEALTH_CHANGED,
    RECORD_REJECTED,
    TENANT_CREATE,
    TENANT_UPDATE,
    TENANT_LIST,
    TOKEN_CREATE,
    TOKEN_REVOKE,
    TOKEN_LIST,
    ENDPOINT_SAVE,
    ENDPOINT_REMOVE,
    ENDPOINT_LIST,
    MODEL_LIST,
    USAGE_SUMMARIZE,
    ATTEMPT_LIST,
    DECISION_GET,
    HEALTH_LIST,
    SERVICE_PING,
)

FRAMES: tuple[type[BaseModel], ...] = (frames.Accepted, frames.Data, frames.End, frames.Refused)
FRAME_SPEAKERS = (Role.ROUTER, Role.PROVIDER_WORKER)
"""They may publish to the inboxes of callers, and to no other inbox."""

GIB = 1024**3
STREAMS: tuple[Stream, ...] = (
    Stream(name="ATTEMPTS", max_age=timedelta(days=7), max_bytes=8 * GIB, synced=True),
    Stream(name="DECISIONS", max_age=timedelta(days=2), max_bytes=4 * GIB, synced=False),
    Stream(name="CHANGES", max_age=timedelta(days=2), max_bytes=GIB, synced=False),
    Stream(name="DEAD_LETTERS", max_age=timedelta(days=30), max_bytes=GIB, synced=True),
)
CONSUMERS: tuple[Consumer, ...] = (
    Consumer(stream="ATTEMPTS", hearer=Role.USAGE_LEDGER),
    Consumer(stream="ATTEMPTS", hearer=Role.HEALTH_MONITOR),
    Consumer(stream="DECISIONS", hearer=Role.USAGE_LEDGER),
)
TENANTS_VIEW = Bucket(
    name="tenants",
    owner=Role.TENANT_DIRECTORY,
    readers=(Role.INGRESS, Role.ROUTER),
    message=tenancy.Tenant,
    summary="Every tenant, by id.",
)
CLIENT_TOKENS_VIEW = Bucket(
    name="client_tokens",
    owner=Role.TENANT_DIRECTORY,
    readers=(Role.INGRESS,),
    message=tenancy.ClientToken,
    summary="Every client token, by fingerprint.",
)
ENDPOINTS_VIEW = Bucket(
    name="endpoints",
    owner=Role.ROUTER,
    readers=(Role.ROUTER,),
    message=route.Endpoint,
    summary="Tenants' own endpoints, by `<tenant>.<name>`.",
)
HEALTH_VIEW = Bucket(
    name="health",
    owner=Role.HEALTH_MONITOR,
    readers=(Role.ROUTER,),
    message=health.Health,
    summary="Targets that are not closed, by `Target.key`.",
)
BUCKETS: tuple[Bucket, ...] = (TENANTS_VIEW, CLIENT_TOKENS_VIEW, ENDPOINTS_VIEW, HEALTH_VIEW)

INGRESS_INBOX = "_INBOX_ingress"
CALLER_INBOX = "_INBOX_c"
"""Inboxes of everybody who calls over the bus: the command line and internal services."""
FRAME_INBOXES = (f"{INGRESS_INBOX}.", f"{CALLER_INBOX}.")


def worker_id(slot: int) -> str:
    """The stable name of a worker slot; also its NATS user."""
    return f"{Role.PROVIDER_WORKER}-{slot}"


def internal_client(tenant: str, name: str) -> str:
    """The NATS user of a tenant's program `name`. The dots part it beyond doubt: neither may hold one.

    Raises ValueError for a tenant or a name that is none.
    """
    if not (is_tenant_id(tenant) and is_tenant_id(name)):
        raise ValueError(f"{tenant!r} and {name!r} cannot name a client: want 1 to 63 of a-z 0-9 - for each")
    return f"{Role.INTERNAL_CLIENT}.{tenant}.{name}"


def tenant_of(user: str) -> str | None:
    """The one tenant that a NATS user is bound to, if it is. Raises ValueError as `internal_client`."""
    role, *rest = user.split(".")
    if role != Role.INTERNAL_CLIENT:
        return None
    internal_client(*(rest if len(rest) == 2 else ("", "")))
    return rest[0]


def role_of(user: str) -> Role:
    """The role of a NATS user. Raises ValueError for a name that is no user's."""
    if "." in user and tenant_of(user) is not None:
        return Role.INTERNAL_CLIENT
    name, _, slot = user.rpartition("-")
    return Role(name) if slot.isdigit() else Role(user)


def users(worker_slots: int, internal_clients: Iterable[str] = ()) -> list[str]:
    """Every NATS user of an installation with so many worker slots and these internal clients."""
    workers = [worker_id(slot) for slot in range(1, worker_slots + 1)]
    many = (Role.PROVIDER_WORKER, Role.INTERNAL_CLIENT)
    return [role.value for role in Role if role not in many] + workers + list(internal_clients)


def inbox_prefix(user: str) -> str:
    """What every inbox of this user starts with, without the trailing dot."""
    role = role_of(user)
    if role is Role.INGRESS:
        return INGRESS_INBOX
    if role in (Role.OPERATOR, Role.INTERNAL_CLIENT):
        return f"{CALLER_INBOX}.{user}"
    return f"_INBOX_{user}"


def reply_prefixes(subject: Subject) -> tuple[str, ...]:
    """Where an answer to `subject` may go.

    NATS does not check a publisher's right to the reply subject it names, so every responder has to.
    """
    if subject in (ATTEMPT_RUN, REQUEST_REROUTE):
        return FRAME_INBOXES
    return tuple(f"{inbox_prefix(speaker.value)}." for speaker in subject.speakers)


def heard_by(role: Role) -> list[Subject]:
    """What a role listens to, streams included."""
    return [subject for subject in SUBJECTS if role in subject.hearers]


def spoken_by(role: Role) -> list[Subject]:
    """What a role says."""
    return [subject for subject in SUBJECTS if role in subject.speakers]


def contracts() -> Iterable[type[BaseModel]]:
    """Every message that travels, once each, in the order of this map."""
    seen: dict[str, type[BaseModel]] = {}
    for subject in SUBJECTS:
        seen.setdefault(subject.message.__name__, subject.message)
        if subject.reply is not None:
            seen.setdefault(subject.reply.__name__, subject.reply)
    others: list[type[BaseModel]] = [*FRAMES, usage.PackHead, *(bucket.message for bucket in BUCKETS)]
    for model in others:
        seen.setdefault(model.__name__, model)
    return seen.values()
