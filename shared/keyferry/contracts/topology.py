"""The one map of the bus: who publishes and subscribes to which subject, and what is stored.

Subjects are spelled nowhere else, but in the parts that have a module of their own (`management`).
The NATS streams, consumers, buckets and permissions (`permissions`), the AsyncAPI document and the tables in the docs are
derived from it (`python -m keyferry.contracts.render`). Subjects read `kf.v1.<noun>.<verb>`: commands in the imperative,
events in the past tense. A placeholder in braces is one subject token. Pure.
"""

from collections.abc import Iterable

from keyferry.contracts import (
    audit,
    chat,
    frames,
    health,
    key,
    lease,
    limits,
    management,
    route,
    service,
    tenancy,
    tiers,
    usage,
    vault,
)
from keyferry.contracts.buckets import AUDIT_HEADS as AUDIT_HEADS
from keyferry.contracts.buckets import BUCKETS as BUCKETS
from keyferry.contracts.buckets import CLIENT_TOKENS_VIEW as CLIENT_TOKENS_VIEW
from keyferry.contracts.buckets import ENDPOINTS_VIEW as ENDPOINTS_VIEW
from keyferry.contracts.buckets import HEALTH_VIEW as HEALTH_VIEW
from keyferry.contracts.buckets import LATENCY_VIEW as LATENCY_VIEW
from keyferry.contracts.buckets import OVERRIDES_VIEW as OVERRIDES_VIEW
from keyferry.contracts.buckets import PROVIDER_KEYS_VIEW as PROVIDER_KEYS_VIEW
from keyferry.contracts.buckets import TENANTS_VIEW as TENANTS_VIEW
from keyferry.contracts.channels import SERVICES as SERVICES
from keyferry.contracts.channels import AnySubject as AnySubject
from keyferry.contracts.channels import Bucket as Bucket
from keyferry.contracts.channels import Consumer as Consumer
from keyferry.contracts.channels import Role as Role
from keyferry.contracts.channels import Stream as Stream
from keyferry.contracts.channels import Subject as Subject
from keyferry.contracts.channels import SubjectKind as SubjectKind
from keyferry.contracts.channels import core, event, manage, request
from keyferry.contracts.envelope import Message
from keyferry.contracts.routing_management import RATINGS_VIEW as RATINGS_VIEW
from keyferry.contracts.streams import CONSUMERS as CONSUMERS
from keyferry.contracts.streams import STREAMS as STREAMS
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
"""Largest body of a chat request; leaves space for the head and for additions along the route."""

SERVER_HEALTH, SERVER_IDENTITY = "kf.v1.server.health", "kf.v1.server.identify"
"""Answered by the NATS servers themselves, the first to operators and the second to every service (`server_health`)."""

_CALLERS = (Role.INGRESS, Role.INTERNAL_CLIENT, Role.OPERATOR)
_DIRECTORY, _ROUTER, _LEDGER, _VAULT = Role.TENANT_DIRECTORY, Role.ROUTER, Role.USAGE_LEDGER, Role.KEY_VAULT
_WORKER, _MONITOR = Role.PROVIDER_WORKER, Role.HEALTH_MONITOR

# --- requests for completions, and the attempts that serve them

CHAT_REQUEST = core(
    "kf.v1.chat.request.{tenant}",
    chat.ChatRequest,
    publishers=_CALLERS,
    subscriber=_ROUTER,
    queue="router",
    summary="Requests a chat completion; the answer goes to the reply inbox as frames.",
)
EMBEDDING_REQUEST = core(
    "kf.v1.embedding.request.{tenant}",
    chat.EmbeddingRequest,
    publishers=_CALLERS,
    subscriber=_ROUTER,
    queue="router",
    summary="Requests embeddings; the answer goes to the reply inbox as frames, like a chat's.",
)
ATTEMPT_RUN = core(
    "kf.v1.attempt.run.{provider}",
    chat.AttemptRun,
    publishers=(_ROUTER,),
    subscriber=_WORKER,
    queue="provider-worker",
    summary="Makes one provider call; the answer goes to the caller's inbox, which the router passes on unchanged.",
)
REQUEST_REROUTE = core(
    "kf.v1.request.reroute.{tenant}",
    chat.Reroute,
    publishers=(_WORKER,),
    subscriber=_ROUTER,
    queue="router",
    summary="An attempt failed before anything was delivered: route again on current facts; the inbox is the caller's.",
)
WORKER_PROBE = request(
    "kf.v1.worker.probe.{instance}",
    chat.Probe,
    chat.ProbeReply,
    publishers=_CALLERS,
    subscribers=(_WORKER,),
    fast_path=True,
    summary="A caller asks a silent worker process whether it still has these attempts.",
)
WORKER_CONTROL = core(
    "kf.v1.worker.control.{instance}.{tenant}",
    chat.Control,
    publishers=_CALLERS,
    subscriber=_WORKER,
    summary="A caller cancels its attempt at the worker process that accepted it, or grants it credit.",
)
ATTEMPT_FINISHED = event(
    "kf.v1.attempt.finished.{worker}",
    usage.AttemptRecord,
    publishers=(_WORKER,),
    subscribers=(_LEDGER, _MONITOR, _VAULT, Role.NOTIFIER, Role.BILLING),
    stream="ATTEMPTS",
    summary="Attempts that have ended, in batches: a head line and one record per line.",
)
ATTEMPT_CONFIRMED = core(
    "kf.v1.attempt.confirmed.{worker}",
    usage.AttemptsConfirmed,
    publishers=(_LEDGER,),
    subscriber=_WORKER,
    summary="These records are committed; the worker may drop them from its spool.",
)
REQUEST_DECIDED = event(
    "kf.v1.request.decided.{service}",
    route.DecisionRecord,
    publishers=(_ROUTER, _WORKER),
    subscribers=(_LEDGER,),
    stream="DECISIONS",
    summary="What a router knew and chose, refusals included, or that a worker refused the attempt; in batches.",
)
HEALTH_CHANGED = event(
    "kf.v1.health.changed.{provider}",
    health.HealthChange,
    publishers=(_MONITOR,),
    subscribers=(_LEDGER, Role.NOTIFIER),
    stream="CHANGES",
    summary="A circuit opened or closed, a target or a key began or stopped to cool, or an operator forced a circuit.",
)
LIMIT_COUNTED = event(
    "kf.v1.limit.counted.{kind}.{tenant}.{scope}.{window}",
    limits.CounterValue,
    publishers=(_ROUTER, _WORKER),
    stream="LIMITS",
    summary="A counter of a tenant's or client token's requests, tokens or concurrency in one window.",
)
RECORD_REJECTED = event(
    "kf.v1.record.rejected.{service}",
    service.Refusal,
    publishers=(_LEDGER,),
    stream="DEAD_LETTERS",
    summary="A record that fits no contract, set aside with the reason so that its batch goes on.",
)

# --- management

TENANT_CREATE = manage("kf.v1.tenant.create", tenancy.CreateTenant, tenancy.Tenant, _DIRECTORY, "Add a tenant.")
TENANT_UPDATE = manage(
    "kf.v1.tenant.update", tenancy.UpdateTenant, tenancy.Tenant, _DIRECTORY, "Rename, re-tier or suspend a tenant."
)
TENANT_GET = manage("kf.v1.tenant.get", tenancy.GetTenant, tenancy.Tenant, _DIRECTORY, "Return one tenant.")
TENANT_LIST = manage("kf.v1.tenant.list", tenancy.ListTenants, tenancy.Tenants, _DIRECTORY, "List all tenants.")
TOKEN_CREATE = manage(
    "kf.v1.token.create", tenancy.CreateClientToken, tenancy.ClientToken, _DIRECTORY, "Register a client token."
)
TOKEN_UPDATE = manage(
    "kf.v1.token.update", tenancy.UpdateClientToken, tenancy.ClientToken, _DIRECTORY, "Change a token's limits."
)
TOKEN_REVOKE = manage(
    "kf.v1.token.revoke", tenancy.RevokeClientToken, tenancy.ClientToken, _DIRECTORY, "Revoke a token."
)
TOKEN_LIST = request(
    "kf.v1.token.list",
    tenancy.ListClientTokens,
    tenancy.ClientTokens,
    publishers=(Role.OPERATOR, Role.CONSOLE, _ROUTER),
    subscribers=(_DIRECTORY,),
    queue=_DIRECTORY.value,
    summary="List a tenant's client tokens.",
)
TIER_LIST = manage("kf.v1.tier.list", tiers.GetTiers, tiers.TierTable, _DIRECTORY, "List what each tier includes.")
ENDPOINT_SAVE = manage(
    "kf.v1.endpoint.save", route.SaveEndpoint, route.SavedEndpoint, _ROUTER, "Add or replace a tenant's own endpoint."
)
ENDPOINT_PROBE = request(
    "kf.v1.endpoint.probe",
    route.ProbeEndpoint,
    route.EndpointProbe,
    publishers=(_ROUTER, _MONITOR),
    subscribers=(_WORKER,),
    queue="provider-worker",
    summary="The router and the health monitor, which call no server themselves, have a worker try an address.",
)
ENDPOINT_REMOVE = manage(
    "kf.v1.endpoint.remove", route.RemoveEndpoint, route.Endpoint, _ROUTER, "Remove a tenant's own endpoint."
)
ENDPOINT_LIST = manage(
    "kf.v1.endpoint.list", route.ListEndpoints, route.Endpoints, _ROUTER, "List a tenant's own endpoints."
)
MODEL_LIST = request(
    "kf.v1.model.list.{tenant}",
    route.ListModels,
    route.Models,
    publishers=(*_CALLERS, Role.CONSOLE),
    subscribers=(_ROUTER,),
    queue="router",
    summary="Lists what a tenant can call now.",
)
USAGE_SUMMARIZE = manage(
    "kf.v1.usage.summarize", usage.SummarizeUsage, usage.UsageSummary, _LEDGER, "Summarize a tenant's usage and cost."
)
ATTEMPT_LIST = manage(
    "kf.v1.attempt.list", usage.GetAttempts, usage.Attempts, _LEDGER, "List the attempts of one request."
)
DECISION_GET = manage(
    "kf.v1.decision.get", route.GetDecision, route.Decision, _LEDGER, "Return the decision record of one request."
)
HEALTH_LIST = manage(
    "kf.v1.health.list", health.ListHealth, health.HealthList, _MONITOR, "List the health of a tenant's targets."
)
HEALTH_FORCE = manage(
    "kf.v1.health.force", health.ForceHealth, health.Override, _MONITOR, "Force circuits open or closed for a time."
)
HEALTH_RELEASE = manage(
    "kf.v1.health.release", health.ReleaseHealth, health.Override, _MONITOR, "End an override of circuits."
)
OUTAGE_LIST = manage(
    "kf.v1.outage.list", health.ListOutages, health.Outages, _LEDGER, "List outages and what they did to requests."
)
INTAKE_KEY_GET = request(
    "kf.v1.intake_key.get",
    key.GetIntakeKey,
    key.IntakeKey,
    publishers=(Role.OPERATOR, Role.CONSOLE, Role.NOTIFIER),
    subscribers=(_VAULT,),
    queue=_VAULT.value,
    summary="Return the public intake key.",
)
KEY_ADD = manage("kf.v1.key.add", key.AddKey, key.ProviderKey, _VAULT, "Add a provider key, which arrives sealed.")
KEY_TRY = manage("kf.v1.key.try", key.TryKey, key.KeyTest, _VAULT, "Test a provider key without storing it.")
KEY_TEST = manage("kf.v1.key.test", key.TestKey, key.ProviderKey, _VAULT, "Test a stored provider key.")
KEY_ROTATE = manage("kf.v1.key.rotate", key.RotateKey, key.ProviderKey, _VAULT, "Replace a provider key, with overlap.")
KEY_REVERT = manage("kf.v1.key.revert", key.RevertKey, key.ProviderKey, _VAULT, "Undo the last rotation of a key.")
KEY_EDIT = manage("kf.v1.key.edit", key.EditKey, key.ProviderKey, _VAULT, "Change the settings of a provider key.")
KEY_REMOVE = manage("kf.v1.key.remove", key.RemoveKey, key.KeyRemoved, _VAULT, "Destroy a provider key.")
KEY_LIST = manage("kf.v1.key.list", key.ListKeys, key.ProviderKeys, _VAULT, "List a tenant's provider keys, masked.")
KEK_ROTATE = manage(
    "kf.v1.kek.rotate", vault.RotateKek, vault.KekRotation, _VAULT, "Re-encrypt data keys under the primary KEK."
)
DATA_KEY_ROTATE = manage(
    "kf.v1.data_key.rotate", vault.RotateDataKeys, vault.VaultReport, _VAULT, "Re-encrypt a tenant's keys."
)
VAULT_VERIFY = manage(
    "kf.v1.vault.verify", vault.VerifyVault, vault.VaultReport, _VAULT, "Decrypt every record as a check."
)
VAULT_SHRED = manage("kf.v1.vault.shred", vault.ShredTenant, vault.Shredded, _VAULT, "Destroy a tenant's data keys.")

# --- the vault's exchanges with workers, its events, and the audit

WORKER_REGISTER = request(
    "kf.v1.worker.register.{worker}",
    lease.WorkerRegistration,
    lease.Registered,
    publishers=(_WORKER,),
    subscribers=(_VAULT,),
    queue="key-vault",
    summary="A worker process presents its short-lived public key, signed with the slot's identity key.",
)
KEY_LEASE = request(
    "kf.v1.key.lease.{worker}",
    lease.LeaseKey,
    lease.SealedKey,
    publishers=(_WORKER,),
    subscribers=(_VAULT,),
    queue="key-vault",
    fast_path=True,
    summary="A worker requests the key for an attempt; the answer is sealed to it and signed.",
)
KEY_TEST_RUN = request(
    "kf.v1.key_test.run.{worker}",
    lease.RunKeyTest,
    key.KeyTest,
    publishers=(_VAULT,),
    subscribers=(_WORKER,),
    fast_path=True,
    summary="The vault, which calls no provider itself, has a worker test a key against its provider.",
)
KEY_CHANGED = event(
    "kf.v1.key.changed.{tenant}",
    key.KeyChanged,
    publishers=(_VAULT,),
    subscribers=(Role.NOTIFIER,),
    stream="CHANGES",
    summary="A provider key was added, tested, rotated or removed, or its status changed.",
)
KEY_SPENT = event(
    "kf.v1.key.spent.{tenant}",
    key.KeySpend,
    publishers=(_LEDGER,),
    subscribers=(_VAULT,),
    stream="SPEND",
    summary="What a provider key's calls have cost this month; from ledgers of earlier builds.",
)
KEYS_SPENT = event(
    "kf.v1.keys.spent",
    key.KeySpends,
    publishers=(_LEDGER,),
    subscribers=(_VAULT,),
    stream="SPEND",
    summary="What the calls of many provider keys have cost in a month.",
)
AUDIT_RECORDED = event(
    "kf.v1.audit.recorded.{service}",
    audit.AuditEvent,
    publishers=(_VAULT, _DIRECTORY, _ROUTER, _MONITOR, Role.BILLING, Role.NOTIFIER),
    subscribers=(_LEDGER,),
    stream="AUDIT",
    summary="An action that has to be accounted for; on disk before it takes effect.",
)
AUDIT_LIST = manage("kf.v1.audit.list", audit.ListAudit, audit.AuditEntries, _LEDGER, "List a tenant's audit entries.")
AUDIT_VERIFY = manage(
    "kf.v1.audit.verify", audit.VerifyAudit, audit.AuditVerification, _LEDGER, "Recompute the audit chains."
)
DEAD_LETTER_LIST = manage(
    "kf.v1.dead_letter.list", usage.ListDeadLetters, usage.DeadLetters, _LEDGER, "List dead letters, oldest first."
)
DEAD_LETTER_DISCARD = manage(
    "kf.v1.dead_letter.discard", usage.DiscardDeadLetters, usage.Discarded, _LEDGER, "Remove dead letters."
)
SERVICE_PING = request(
    "kf.v1.service.ping",
    service.Ping,
    service.ServiceReport,
    publishers=(Role.OPERATOR, Role.CONSOLE),
    subscribers=SERVICES,
    fast_path=True,
    summary="Every process of every service reports its state.",
)

SUBJECTS: tuple[AnySubject, ...] = (
    *(value for value in list(globals().values()) if isinstance(value, Subject)),
    *management.SUBJECTS,
)
"""Every subject above, in that order, and then those of the parts that have a module of their own."""

FRAMES: tuple[type[Message], ...] = (frames.Accepted, frames.Data, frames.End, frames.RequestRefused)
FRAME_PUBLISHERS = (Role.ROUTER, Role.PROVIDER_WORKER)
"""Roles that may publish to callers' inboxes; they may publish to no other inbox."""


def reply_prefixes(subject: AnySubject) -> tuple[str, ...]:
    """Return the inbox prefixes to which an answer to `subject` may go.

    NATS does not check whether a publisher may use the reply subject it names, so every responder must.
    """
    if subject in (ATTEMPT_RUN, REQUEST_REROUTE):
        return FRAME_INBOXES
    # Each worker slot is a user of its own, whose inbox begins with the role's and a hyphen.
    ends = {Role.PROVIDER_WORKER: "-"}
    return tuple(f"{inbox_prefix(publisher.value)}{ends.get(publisher, '.')}" for publisher in subject.publishers)


def subscriptions_of(role: Role) -> list[AnySubject]:
    """Return the subjects a role subscribes to, streams included."""
    return [subject for subject in SUBJECTS if role in subject.subscribers]


def publications_of(role: Role) -> list[AnySubject]:
    """Return the subjects a role publishes to."""
    return [subject for subject in SUBJECTS if role in subject.publishers]


def consumer_of(role: Role, subject: AnySubject) -> Consumer:
    """Return the durable consumer through which a role reads a stream's subject. Raises LookupError where it has none."""
    for consumer in CONSUMERS:
        if consumer.stream == subject.stream and consumer.subscriber is role:
            return consumer
    raise LookupError(f"{role} has no consumer of {subject.name}")


def contracts() -> Iterable[type[Message]]:
    """Return every message that travels, once each, in the order of this map."""
    models: list[type[Message]] = [
        *(model for subject in SUBJECTS for model in (subject.message, subject.reply) if model is not None),
        *FRAMES,
        usage.BatchHead,
        *(bucket.message for bucket in BUCKETS),
    ]
    return {model.__name__: model for model in models}.values()
