"""Which integration secrets may be stored beside those that their owner has. Pure."""

from collections.abc import Sequence

from keyferry.contracts.integration_formats import FORMS
from keyferry.contracts.integration_secrets import (
    MAX_SECRETS,
    REPEATABLE_KINDS,
    IntegrationKind,
    IntegrationSecret,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from services.key_vault.database.errors import RequestRejected


def check_owner(tenant_id: str, tenant: Tenant | None) -> None:
    """Check that there is an owner of this name that may change something. Raises RequestRejected."""
    if tenant_id == PLATFORM_TENANT:
        return
    if tenant is None:
        raise RequestRejected(
            ErrorCode.NOT_FOUND, f"there is no tenant {tenant_id}: `keyferry tenants create {tenant_id}` adds it"
        )
    if tenant.suspended:
        raise RequestRejected(
            ErrorCode.CONFLICT, f"{tenant_id} is suspended: `keyferry tenants update {tenant_id} --resume` ends that"
        )


def check_new(secret: IntegrationSecret, stored: Sequence[IntegrationSecret]) -> None:
    """Check a new secret against all that its owner has. Raises RequestRejected, which names the one in the way."""
    for other in stored:
        if other.kind is not secret.kind:
            continue
        if other.fingerprint == secret.fingerprint:
            raise RequestRejected(ErrorCode.CONFLICT, f"this secret is stored already, as {describe(other)}")
        if secret.kind not in REPEATABLE_KINDS:
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"{secret.tenant} has {FORMS[secret.kind].title} already, {describe(other)}: rotate that one"
                f" (`keyferry integrations rotate {other.secret_id} --tenant {secret.tenant}`)",
            )
        if other.name == secret.name:
            raise RequestRejected(
                ErrorCode.CONFLICT, f"{describe(other)} has this name: choose another one, or rotate it"
            )
    if len(stored) >= MAX_SECRETS:
        raise RequestRejected(
            ErrorCode.CONFLICT, f"{secret.tenant} has {MAX_SECRETS} integration secrets, the most that there may be"
        )


def check_replacement(secret: IntegrationSecret, fresh: IntegrationSecret, stored: Sequence[IntegrationSecret]) -> None:
    """Check the next version of a secret against all that its owner has. Raises RequestRejected."""
    if secret.fingerprint == fresh.fingerprint:
        raise RequestRejected(
            ErrorCode.CONFLICT, f"this is the secret that {describe(secret)} holds now: make a new one to rotate"
        )
    for other in stored:
        same = other.kind is fresh.kind and other.fingerprint == fresh.fingerprint
        if same and other.secret_id != fresh.secret_id:
            raise RequestRejected(ErrorCode.CONFLICT, f"this secret is stored already, as {describe(other)}")


def check_manager(tenant: str, kind: IntegrationKind, *, by_notifier: bool) -> None:
    """Check that the sender of a change manages this kind of the tenant's secrets. Raises RequestRejected."""
    if by_notifier and kind is not IntegrationKind.WEBHOOK_SECRET:
        raise RequestRejected(ErrorCode.INVALID, "the notifier manages the signing secrets of webhooks alone")
    if not by_notifier and kind is IntegrationKind.WEBHOOK_SECRET:
        raise RequestRejected(
            ErrorCode.INVALID,
            "the signing secret of a webhook is made, rotated and removed with the webhook"
            f" (`keyferry webhooks list --tenant {tenant}` shows them)",
        )


def missing(tenant: str, secret_id: str) -> RequestRejected:
    """Return the refusal of a secret that the owner does not have."""
    return RequestRejected(
        ErrorCode.NOT_FOUND,
        f"{tenant} has no integration secret {secret_id}: `keyferry integrations list --tenant {tenant}` shows them",
    )


def missing_kind(tenant: str, kind: IntegrationKind) -> RequestRejected:
    """Return the refusal of a kind of which the owner has no secret."""
    return RequestRejected(
        ErrorCode.NOT_FOUND,
        f"{tenant} has not stored {FORMS[kind].title}: `keyferry integrations add {kind.value} --tenant {tenant}` adds it",
    )


def describe(secret: IntegrationSecret) -> str:
    """Return the id, name and masked form of a secret."""
    return f"{secret.secret_id} ({secret.name}, {secret.masked})"
