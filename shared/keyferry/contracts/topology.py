"""Who says what to whom, over which subject, how durably. No subject is spelled anywhere else.

From this map come the NATS streams, consumers, buckets and permissions (`permissions`), the AsyncAPI document and the table
in the docs (`python -m keyferry.contracts.render`). Subjects read `kf.v1.<noun>.<verb>`: commands in the
imperative, events in the past tense. A placeholder in braces is one subject token.
"""

from collections.abc import Iterable
from datetime import timedelta

from pydantic import BaseModel

from keyferry.contracts import audit, chat, frames, health, key, route, service, tenancy, usage
from keyferry.contracts.channels import SERVICES as SERVICES
from keyferry.contracts.channels import Bucket as Bucket
from keyferry.contracts.channels import Consumer as Consumer
from keyferry.contracts.channels import Lane as Lane
from keyferry.contracts.channels import Role as Role
from keyferry.contracts.channels import Stream as Stream
from keyferry.contracts.channels import Subject as Subject
from keyferry.contracts.channels import Transport as Transport
from keyferry.contracts.users import CALLER_INBOX as CALLER_INBOX
from keyferry.contracts.users import FRAME_INBOXES as FRAME_INBOXES
from keyferry.contracts.users import INGRESS_INBOX as INGRESS_INBOX
from keyferry.contracts.users import inbox_prefix as inbox_prefix
from keyferry.contracts.users import internal_client as internal_client
from keyferry.contracts.users import role_of as role_of
from keyferry.contracts.users import tenant_of as tenant_of
from keyferry.contracts.users import users as users
from keyferry.contracts.users import worker_id as worker_id

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""`max_payload` of the server."""
MAX_REQUEST_BODY_BYTES = 6 * 1024 * 1024
"""Largest body of a chat request: leaves room for the head and for growth on the way."""


_ASKERS = (Role.INGRESS, Role.INTERNAL_CLIENT, Role.OPERATOR)

CHAT_REQUEST = Subject(
    template="kf.v1.chat.request.{tenant}",
    message=chat.ChatRequest,
    publishers=_ASKERS,
    subscribers=(Role.ROUTER,),
    queue="router",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="A chat completion is wanted; the answer goes to the reply inbox as frames.",
)
EMBEDDING_REQUEST = Subject(
    template="kf.v1.embedding.request.{tenant}",
    message=chat.EmbeddingRequest,
    publishers=_ASKERS,
    subscribers=(Role.ROUTER,),
    queue="router",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="Embeddings are wanted; the answer goes to the reply inbox as frames, as a chat's does.",
)
ATTEMPT_RUN = Subject(
    template="kf.v1.attempt.run.{provider}",
    message=chat.AttemptRun,
    publishers=(Role.ROUTER,),
    subscribers=(Role.PROVIDER_WORKER,),
    queue="provider-worker",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="Make this one provider call and answer the inbox, which the router passes on unchanged.",
)
REQUEST_REROUTE = Subject(
    template="kf.v1.request.reroute.{tenant}",
    message=chat.Reroute,
    publishers=(Role.PROVIDER_WORKER,),
    subscribers=(Role.ROUTER,),
    queue="router",
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="An attempt failed before anything was delivered: plan anew with fresh facts; the reply inbox is the caller's.",
)
WORKER_PROBE = Subject(
    template="kf.v1.worker.probe.{instance}",
    message=chat.Probe,
    reply=chat.Probed,
    publishers=_ASKERS,
    subscribers=(Role.PROVIDER_WORKER,),
    transport=Transport.REQUEST,
    lane=Lane.HOT,
    summary="From a caller to a silent worker process: does it still have these attempts?",
)
WORKER_CONTROL = Subject(
    template="kf.v1.worker.control.{instance}.{tenant}",
    message=chat.Control,
    publishers=_ASKERS,
    subscribers=(Role.PROVIDER_WORKER,),
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="From a caller to the worker process that accepted its attempt: cancel, grant credit.",
)
ATTEMPT_FINISHED = Subject(
    template="kf.v1.attempt.finished.{worker}",
    message=usage.AttemptRecord,
    publishers=(Role.PROVIDER_WORKER,),
    subscribers=(Role.USAGE_LEDGER, Role.HEALTH_MONITOR, Role.KEY_VAULT),
    transport=Transport.STREAM,
    stream="ATTEMPTS",
    summary="Attempts that ended, in packs: a head line and one record a line.",
)
ATTEMPT_CONFIRMED = Subject(
    template="kf.v1.attempt.confirmed.{worker}",
    message=usage.AttemptsConfirmed,
    publishers=(Role.USAGE_LEDGER,),
    subscribers=(Role.PROVIDER_WORKER,),
    transport=Transport.CORE,
    lane=Lane.HOT,
    summary="These records are committed; the worker may forget them.",
)
REQUEST_DECIDED = Subject(
    template="kf.v1.request.decided.{router}",
    message=route.DecisionRecord,
    publishers=(Role.ROUTER,),
    subscribers=(Role.USAGE_LEDGER,),
    transport=Transport.STREAM,
    stream="DECISIONS",
    summary="What the router knew and chose, refusals included; in packs.",
)
HEALTH_CHANGED = Subject(
    template="kf.v1.health.changed.{provider}",
    message=health.Health,
    publishers=(Role.HEALTH_MONITOR,),
    subscribers=(),
    transport=Transport.STREAM,
    stream="CHANGES",
    summary="A circuit opened, began to cool or closed.",
)
RECORD_REJECTED = Subject(
    template="kf.v1.record.rejected.{service}",
    message=service.Refusal,
    publishers=(Role.USAGE_LEDGER,),
    subscribers=(),
    transport=Transport.STREAM,
    stream="DEAD_LETTERS",
    summary="A record that fits no contract, set aside with the reason so that its pack goes on.",
)


def _request(template: str, message: type[BaseModel], reply: type[BaseModel], owner: Role, summary: str) -> Subject:
    """A management request: from the operator or the console to the owner, any one process of it."""
    return Subject(
        template=template,
        message=message,
        reply=reply,
        publishers=(Role.OPERATOR, Role.CONSOLE),
        subscribers=(owner,),
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
    publishers=(*_ASKERS, Role.CONSOLE),
    subscribers=(Role.ROUTER,),
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
_VAULT = Role.KEY_VAULT
KEY_INTAKE = _request(
    "kf.v1.key.intake", key.GetIntakeKey, key.IntakeKey, _VAULT, "The public key that provider keys are sealed to."
)
KEY_ADD = _request("kf.v1.key.add", key.AddKey, key.ProviderKey, _VAULT, "Store a provider key, sealed.")
KEY_TRY = _request("kf.v1.key.try", key.TryKey, key.KeyTest, _VAULT, "Test a provider key without storing it.")
KEY_TEST = _request("kf.v1.key.test", key.TestKey, key.ProviderKey, _VAULT, "Test a stored provider key.")
KEY_ROTATE = _request(
    "kf.v1.key.rotate", key.RotateKey, key.ProviderKey, _VAULT, "Replace a provider key, with overlap."
)
KEY_REVERT = _request("kf.v1.key.revert", key.RevertKey, key.ProviderKey, _VAULT, "Undo the last rotation of a key.")
KEY_EDIT = _request("kf.v1.key.edit", key.EditKey, key.ProviderKey, _VAULT, "Change what is known of a provider key.")
KEY_REMOVE = _request("kf.v1.key.remove", key.RemoveKey, key.KeyRemoved, _VAULT, "Destroy a provider key.")
KEY_LIST = _request("kf.v1.key.list", key.ListKeys, key.ProviderKeys, _VAULT, "A tenant's provider keys, masked.")
KEK_ROTATE = _request(
    "kf.v1.kek.rotate", key.RotateKek, key.KekRotation, _VAULT, "Re-encrypt data keys, or report progress."
)
DATA_KEY_ROTATE = _request(
    "kf.v1.data_key.rotate",
    key.RotateDataKeys,
    key.VaultReport,
    _VAULT,
    "Re-encrypt a tenant's keys under a new data key.",
)
VAULT_VERIFY = _request("kf.v1.vault.verify", key.VerifyVault, key.VaultReport, _VAULT, "Open every record.")
VAULT_SHRED = _request("kf.v1.vault.shred", key.ShredTenant, key.Shredded, _VAULT, "Destroy a tenant's data keys.")
WORKER_REGISTER = Subject(
    template="kf.v1.worker.register.{worker}",
    message=key.WorkerRegistration,
    reply=key.Registered,
    publishers=(Role.PROVIDER_WORKER,),
    subscribers=(Role.KEY_VAULT,),
    queue="key-vault",
    transport=Transport.REQUEST,
    summary="A worker process shows its short-lived public key, signed with the slot's identity key.",
)
KEY_LEASE = Subject(
    template="kf.v1.key.lease.{worker}",
    message=key.LeaseKey,
    reply=key.SealedKey,
    publishers=(Role.PROVIDER_WORKER,),
    subscribers=(Role.KEY_VAULT,),
    queue="key-vault",
    transport=Transport.REQUEST,
    lane=Lane.HOT,
    summary="A worker asks for the key of an attempt; the answer is sealed to it and signed.",
)
KEY_TEST_RUN = Subject(
    template="kf.v1.key_test.run.{worker}",
    message=key.RunKeyTest,
    reply=key.KeyTest,
    publishers=(Role.KEY_VAULT,),
    subscribers=(Role.PROVIDER_WORKER,),
    transport=Transport.REQUEST,
    lane=Lane.HOT,
    summary="The vault has a worker test a key against its provider; it calls nobody itself.",
)
KEY_CHANGED = Subject(
    template="kf.v1.key.changed.{tenant}",
    message=key.KeyChanged,
    publishers=(Role.KEY_VAULT,),
    subscribers=(),
    transport=Transport.STREAM,
    stream="CHANGES",
    summary="A provider key was added, tested, rotated, removed, or changed its status.",
)
KEY_SPENT = Subject(
    template="kf.v1.key.spent.{tenant}",
    message=key.KeySpend,
    publishers=(Role.USAGE_LEDGER,),
    subscribers=(Role.KEY_VAULT,),
    transport=Transport.STREAM,
    stream="SPEND",
    summary="What a provider key's calls came to this month.",
)
AUDIT_RECORDED = Subject(
    template="kf.v1.audit.recorded.{service}",
    message=audit.AuditEvent,
    publishers=(Role.KEY_VAULT,),
    subscribers=(Role.USAGE_LEDGER,),
    transport=Transport.STREAM,
    stream="AUDIT",
    summary="Somebody did something that has to be accounted for; on disk before it takes effect.",
)
AUDIT_LIST = _request("kf.v1.audit.list", audit.ListAudit, audit.AuditEntries, _LEDGER, "A tenant's audit.")
AUDIT_VERIFY = _request(
    "kf.v1.audit.verify", audit.VerifyAudit, audit.AuditVerification, _LEDGER, "Recompute the chains."
)
SERVICE_PING = Subject(
    template="kf.v1.service.ping",
    message=service.Ping,
    reply=service.ServiceReport,
    publishers=(Role.OPERATOR,),
    subscribers=SERVICES,
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
    KEY_INTAKE,
    KEY_ADD,
    KEY_TRY,
    KEY_TEST,
    KEY_ROTATE,
    KEY_REVERT,
    KEY_EDIT,
    KEY_REMOVE,
    KEY_LIST,
    KEK_ROTATE,
    DATA_KEY_ROTATE,
    VAULT_VERIFY,
    VAULT_SHRED,
    WORKER_REGISTER,
    KEY_LEASE,
    KEY_TEST_RUN,
    KEY_CHANGED,
    KEY_SPENT,
    AUDIT_RECORDED,
    AUDIT_LIST,
    AUDIT_VERIFY,
    SERVICE_PING,
)

FRAMES: tuple[type[BaseModel], ...] = (frames.Accepted, frames.Data, frames.End, frames.Refused)
FRAME_PUBLISHERS = (Role.ROUTER, Role.PROVIDER_WORKER)
"""They may publish to the inboxes of callers, and to no other inbox."""

GIB = 1024**3
STREAMS: tuple[Stream, ...] = (
    Stream(name="ATTEMPTS", max_age=timedelta(days=7), max_bytes=8 * GIB, synced=True),
    Stream(name="DECISIONS", max_age=timedelta(days=2), max_bytes=4 * GIB, synced=False),
    Stream(name="CHANGES", max_age=timedelta(days=2), max_bytes=GIB, synced=False),
    Stream(name="SPEND", max_age=timedelta(days=40), max_bytes=GIB, synced=False),
    Stream(name="AUDIT", max_age=timedelta(days=30), max_bytes=4 * GIB, synced=True),
    Stream(name="DEAD_LETTERS", max_age=timedelta(days=30), max_bytes=GIB, synced=True),
)
CONSUMERS: tuple[Consumer, ...] = (
    Consumer(stream="ATTEMPTS", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="ATTEMPTS", subscriber=Role.HEALTH_MONITOR),
    Consumer(stream="DECISIONS", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="AUDIT", subscriber=Role.USAGE_LEDGER),
    Consumer(stream="ATTEMPTS", subscriber=Role.KEY_VAULT),
    Consumer(stream="SPEND", subscriber=Role.KEY_VAULT),
)
TENANTS_VIEW = Bucket(
    name="tenants",
    owner=Role.TENANT_DIRECTORY,
    readers=(Role.INGRESS, Role.ROUTER, Role.KEY_VAULT),
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
PROVIDER_KEYS_VIEW = Bucket(
    name="provider_keys",
    owner=Role.KEY_VAULT,
    readers=(Role.ROUTER, Role.PROVIDER_WORKER),
    message=key.KeyFacts,
    summary="Provider keys without the keys, by `<tenant>.<key_id>`; what leaves it is revoked.",
)
AUDIT_HEADS = Bucket(
    name="audit_heads",
    owner=Role.USAGE_LEDGER,
    readers=(),
    message=audit.AuditHead,
    summary="The signed end of each tenant's audit chain, by tenant: kept apart from the table, so that a cut shows.",
)
BUCKETS: tuple[Bucket, ...] = (
    TENANTS_VIEW,
    CLIENT_TOKENS_VIEW,
    ENDPOINTS_VIEW,
    HEALTH_VIEW,
    PROVIDER_KEYS_VIEW,
    AUDIT_HEADS,
)


def reply_prefixes(subject: Subject) -> tuple[str, ...]:
    """Where an answer to `subject` may go.

    NATS does not check a publisher's right to the reply subject it names, so every responder has to.
    """
    if subject in (ATTEMPT_RUN, REQUEST_REROUTE):
        return FRAME_INBOXES
    # Each worker slot is a user of its own, whose inbox begins with the role's and a hyphen.
    ends = {Role.PROVIDER_WORKER: "-"}
    return tuple(f"{inbox_prefix(publisher.value)}{ends.get(publisher, '.')}" for publisher in subject.publishers)


def heard_by(role: Role) -> list[Subject]:
    """What a role listens to, streams included."""
    return [subject for subject in SUBJECTS if role in subject.subscribers]


def spoken_by(role: Role) -> list[Subject]:
    """What a role says."""
    return [subject for subject in SUBJECTS if role in subject.publishers]


def contracts() -> Iterable[type[BaseModel]]:
    """Every message that travels, once each, in the order of this map."""
    seen: dict[str, type[BaseModel]] = {}
    for subject in SUBJECTS:
        seen.setdefault(subject.message.__name__, subject.message)
        if subject.reply is not None:
            seen.setdefault(subject.reply.__name__, subject.reply)
    others: list[type[BaseModel]] = [*FRAMES, usage.BatchHead, *(bucket.message for bucket in BUCKETS)]
    for model in others:
        seen.setdefault(model.__name__, model)
    return seen.values()
