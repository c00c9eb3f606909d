"""The requests about integration secrets: save, rotate, remove, list. Each change and each refusal is audited."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts import ids
from keyferry.contracts.addresses import AddressPolicy, check_reachable
from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.integration_formats import ImplausibleSecret, check_secret_format, mask_secret
from keyferry.contracts.integration_secrets import (
    IntegrationKind,
    IntegrationSecret,
    IntegrationSecretList,
    IntegrationSecretRemoved,
    ListIntegrationSecrets,
    RemoveIntegrationSecret,
    RotateIntegrationSecret,
    SaveIntegrationSecret,
)
from keyferry.contracts.origin import ForbiddenUrl
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.sealing.intake import IntakeOpener, InvalidSealedKey
from services.key_vault.database.errors import Conflict, RequestRejected
from services.key_vault.database.tables import EncryptedRecord
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.integration_secrets.rules import check_manager, check_owner, missing
from services.key_vault.integration_secrets.store import IntegrationSecretStore

SAVE, ROTATE, REMOVE = "integration_secret.save", "integration_secret.rotate", "integration_secret.remove"
_NOTHING_STORED = "nothing was stored"


@dataclass(frozen=True, slots=True)
class IntegrationDependencies:
    """What the service uses. `tenant_of` looks a tenant up in the view, `clock` returns the time in UTC."""

    database: Database
    store: IntegrationSecretStore
    encryption: EnvelopeEncryption
    opener: IntakeOpener
    tenant_of: Callable[[str], Tenant | None]
    addresses: AddressPolicy
    clock: Callable[[], datetime]


class IntegrationSecretService:
    """Carries out requests about integration secrets.

    With `by_notifier` it is for the signing secrets of webhooks alone, and without it for all others: the subject that a request
    comes on says who sends it. Every method raises RequestRejected, DatabaseUnavailable and KekUnavailable.
    """

    def __init__(self, uses: IntegrationDependencies, *, by_notifier: bool = False) -> None:
        self._uses = uses
        self._by_notifier = by_notifier

    async def save(self, command: SaveIntegrationSecret) -> IntegrationSecret:
        """Store a new secret."""
        async with self._audit_rejection(command.actor, SAVE, command.tenant, command.kind.value):
            check_manager(command.tenant, command.kind, by_notifier=self._by_notifier)
            check_owner(command.tenant, self._uses.tenant_of(command.tenant))
            text = self._open(command.sealed, command.tenant, command.kind)
            secret = IntegrationSecret(
                secret_id=ids.new(ids.INTEGRATION_SECRET),
                tenant=command.tenant,
                kind=command.kind,
                name=command.name,
                version=1,
                created_at=self._uses.clock(),
                created_by=command.actor,
                **self._identify(command.tenant, command.kind, text),
            )
            details = {"kind": command.kind.value, "name": command.name}
            act = Act(command.actor, SAVE, command.tenant, secret.secret_id, details=details)
            record = await self._encrypt(secret, text)
            try:
                await self._uses.store.insert(secret, record, act)
            except Conflict as error:
                raise RequestRejected(ErrorCode.CONFLICT, f"{error}; {_NOTHING_STORED}") from None
            return secret

    async def rotate(self, command: RotateIntegrationSecret) -> IntegrationSecret:
        """Replace a secret; the previous version stays valid for the overlap."""
        async with self._audit_rejection(command.actor, ROTATE, command.tenant, command.secret_id):
            check_owner(command.tenant, self._uses.tenant_of(command.tenant))
            before = await self._get(command.tenant, command.secret_id)
            text = self._open(command.sealed, command.tenant, before.kind)
            now = self._uses.clock()
            until = now + timedelta(seconds=command.overlap_seconds) if command.overlap_seconds else None
            changes: dict[str, object] = {
                "version": before.version + 1,
                "rotated_at": now,
                "rotated_by": command.actor,
                "previous_until": until,
            }
            after = before.model_copy(update=changes | self._identify(before.tenant, before.kind, text))
            details = {"kind": before.kind.value, "version": f"{before.version} -> {after.version}"}
            details["previous_until"] = "none" if until is None else until.isoformat()
            act = Act(command.actor, ROTATE, command.tenant, command.secret_id, details=details)
            record = await self._encrypt(after, text)
            try:
                await self._uses.store.rotate(before, after, record, act)
            except Conflict as error:
                raise RequestRejected(ErrorCode.CONFLICT, f"{error}: read the list and do it again") from None
            return after

    async def remove(self, command: RemoveIntegrationSecret) -> IntegrationSecretRemoved:
        """Destroy a secret with all its versions."""
        async with self._audit_rejection(command.actor, REMOVE, command.tenant, command.secret_id):
            secret = await self._get(command.tenant, command.secret_id)
            details = {"kind": secret.kind.value, "name": secret.name, "version": str(secret.version)}
            act = Act(command.actor, REMOVE, command.tenant, command.secret_id, details=details)
            try:
                await self._uses.store.delete(secret, act)
            except Conflict:
                raise missing(command.tenant, command.secret_id) from None
            return IntegrationSecretRemoved(secret=secret)

    async def list_(self, query: ListIntegrationSecrets) -> IntegrationSecretList:
        """Return an owner's secrets, masked. Raises RequestRejected for an id that it does not have."""
        found = await self._uses.store.list_for_tenant(query.tenant, query.kind, query.secret_id)
        if query.secret_id is not None and not found:
            raise missing(query.tenant, query.secret_id)
        now = self._uses.clock()
        return IntegrationSecretList(tenant=query.tenant, secrets=[_without_ended(secret, now) for secret in found])

    async def _get(self, tenant: str, secret_id: str) -> IntegrationSecret:
        found = await self._uses.store.list_for_tenant(tenant, secret_id=secret_id)
        if not found:
            raise missing(tenant, secret_id)
        check_manager(tenant, found[0].kind, by_notifier=self._by_notifier)
        return found[0]

    def _open(self, sealed: str, tenant: str, kind: IntegrationKind) -> Secret:
        """Open what was sealed for this owner and kind, and check its form. Raises RequestRejected."""
        policy = self._uses.addresses
        try:
            secret = self._uses.opener.open_integration_secret(sealed, tenant, kind.value)
            check_secret_format(kind, secret.reveal(), private_networks=bool(policy.allow))
            if kind is IntegrationKind.SLACK_WEBHOOK_URL:
                check_reachable(secret.reveal(), policy)
        except (InvalidSealedKey, ImplausibleSecret) as error:
            raise RequestRejected(ErrorCode.INVALID, f"{error}; {_NOTHING_STORED}") from None
        except ForbiddenUrl as error:
            reason = f"this URL cannot be used: {error.reason}; {_NOTHING_STORED}"
            raise RequestRejected(ErrorCode.INVALID, reason) from None
        return secret

    async def _encrypt(self, secret: IntegrationSecret, text: Secret) -> EncryptedRecord:
        try:
            return await self._uses.encryption.encrypt_integration(secret, text)
        except Undecryptable as error:
            raise RequestRejected(
                ErrorCode.CONFLICT, f"the data key of {secret.tenant} cannot be used: {error}; {_NOTHING_STORED}"
            ) from None

    def _identify(self, tenant: str, kind: IntegrationKind, text: Secret) -> dict[str, str]:
        masked = mask_secret(kind, text.reveal())
        return {"masked": masked, "fingerprint": self._uses.encryption.fingerprint(tenant, text)}

    @asynccontextmanager
    async def _audit_rejection(self, actor: str, action: str, tenant: str, target: str) -> AsyncIterator[None]:
        """Audit a rejection before it is returned."""
        try:
            yield
        except RequestRejected as error:
            reason = {"reason": error.message}
            await self._uses.database.audit(Act(actor, action, tenant, target, AuditOutcome.REFUSED, details=reason))
            raise


def _without_ended(secret: IntegrationSecret, now: datetime) -> IntegrationSecret:
    """Return a secret as it is at `now`, although the previous version may be destroyed a little later."""
    ended = secret.previous_until is not None and secret.previous_until <= now
    return secret.model_copy(update={"previous_until": None}) if ended else secret
