"""The buckets of the bus, their owners and their readers; part of `topology`. Pure."""

from typing import Any

from keyferry.contracts import audit, health, key, management, route, tenancy
from keyferry.contracts.channels import Bucket, Role

TENANTS_VIEW = Bucket(
    name="tenants",
    owner=Role.TENANT_DIRECTORY,
    readers=(Role.INGRESS, Role.ROUTER, Role.KEY_VAULT, Role.USAGE_LEDGER, Role.CONSOLE, Role.BILLING, Role.NOTIFIER),
    message=tenancy.Tenant,
    by_tenant=True,
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
    readers=(Role.ROUTER, Role.KEY_VAULT, Role.HEALTH_MONITOR),
    message=route.Endpoint,
    by_tenant=True,
    summary="Tenants' own endpoints, by `<tenant>.<name>`.",
)
HEALTH_VIEW = Bucket(
    name="health",
    owner=Role.HEALTH_MONITOR,
    readers=(Role.ROUTER,),
    message=health.Health,
    summary="Targets whose circuit is not closed, by `Target.key`.",
)
LATENCY_VIEW = Bucket(
    name="latency",
    owner=Role.HEALTH_MONITOR,
    readers=(Role.ROUTER,),
    message=health.LatencySummary,
    summary="How fast each target has answered within the last minutes, by `Target.key`.",
)
OVERRIDES_VIEW = Bucket(
    name="overrides",
    owner=Role.HEALTH_MONITOR,
    readers=(Role.ROUTER, Role.HEALTH_MONITOR),
    message=health.Override,
    summary="Circuits that an operator forces open or closed, by `Selector.key`; an entry counts until its `until`.",
)
AUDIT_POSITIONS = Bucket(
    name="audit_positions",
    owner=Role.HEALTH_MONITOR,
    readers=(),
    message=audit.AuditEvent,
    summary="The last audit event of a service without tables, by service: it continues the count and is published again.",
)
PROVIDER_KEYS_VIEW = Bucket(
    name="provider_keys",
    owner=Role.KEY_VAULT,
    readers=(Role.ROUTER, Role.PROVIDER_WORKER, Role.USAGE_LEDGER),
    message=key.KeyFacts,
    by_tenant=True,
    summary="Metadata of provider keys, by `<tenant>.<key_id>`; a key that leaves the bucket is revoked.",
)
AUDIT_HEADS = Bucket(
    name="audit_heads",
    owner=Role.USAGE_LEDGER,
    readers=(),
    message=audit.AuditHead,
    summary="The signed head of each tenant's audit chain, by tenant; kept outside the table so that truncation shows.",
)
BUCKETS: tuple[Bucket[Any], ...] = (
    TENANTS_VIEW,
    CLIENT_TOKENS_VIEW,
    ENDPOINTS_VIEW,
    HEALTH_VIEW,
    LATENCY_VIEW,
    OVERRIDES_VIEW,
    AUDIT_POSITIONS,
    PROVIDER_KEYS_VIEW,
    AUDIT_HEADS,
    *management.BUCKETS,
)
