"""Releases integration secrets to the processes that use them, each to the kinds that its role may read."""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.channels import Role
from keyferry.contracts.integration_management import READABLE
from keyferry.contracts.integration_secrets import IntegrationSecretLease, LeaseIntegrationSecret
from keyferry.contracts.service import ErrorCode
from keyferry.sealing.integration_lease import seal_for_reader
from keyferry.sealing.suite import UnknownSuite
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.integration_secrets.rules import missing, missing_kind
from services.key_vault.integration_secrets.store import IntegrationSecretStore, SecretRecord

LEASE = "integration_secret.lease"


class SecretLeaseService:
    """Answers the readers. `clock` returns the time in UTC."""

    def __init__(
        self,
        database: Database,
        store: IntegrationSecretStore,
        encryption: EnvelopeEncryption,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._store = store
        self._encryption = encryption
        self._clock = clock

    async def to_billing(self, request: LeaseIntegrationSecret) -> IntegrationSecretLease:
        """Answer the billing service."""
        return await self.lease(Role.BILLING, request)

    async def to_notifier(self, request: LeaseIntegrationSecret) -> IntegrationSecretLease:
        """Answer the notifier."""
        return await self.lease(Role.NOTIFIER, request)

    async def lease(self, reader: Role, request: LeaseIntegrationSecret) -> IntegrationSecretLease:
        """Return the valid versions of a secret, sealed to the process that requests it. The bus vouches for `reader`.

        Raises RequestRejected: INVALID for a kind that the reader may not have, which is audited, NOT_FOUND where there is no
        such secret; KekUnavailable and DatabaseUnavailable. The lease is audited once for each process and version, and that is
        committed before this returns.
        """
        await self._check_reader(reader, request)
        found = await self._store.list_for_tenant(request.tenant, request.kind, request.secret_id)
        if not found:
            raise _not_found(request)
        act = _act(reader, request, found[0].secret_id)
        versions = await self._store.lease(found[0], reader.value, request.instance_id, self._clock(), act)
        if not versions:
            raise _not_found(request)
        sealed = [await self._seal(request, one) for one in versions]
        answer = IntegrationSecretLease(
            tenant=request.tenant,
            kind=request.kind,
            secret_id=found[0].secret_id,
            version=versions[0][0].version,
            sealed=sealed[0],
        )
        if len(versions) == 1:
            return answer
        previous, _ = versions[1]
        more = {"previous_version": previous.version, "previous_sealed": sealed[1]}
        return answer.model_copy(update={**more, "previous_until": previous.previous_until})

    async def _check_reader(self, reader: Role, request: LeaseIntegrationSecret) -> None:
        if request.kind in READABLE[reader]:
            return
        reason = f"the {reader.value} may not read a secret of the kind {request.kind.value}"
        target = request.secret_id or request.kind.value
        act = _act(reader, request, target, AuditOutcome.REFUSED, reason=reason)
        await self._database.audit(act)
        raise RequestRejected(ErrorCode.INVALID, reason)

    async def _seal(self, request: LeaseIntegrationSecret, found: SecretRecord) -> str:
        secret, record = found
        try:
            text = await self._encryption.decrypt_integration(secret, record)
            return seal_for_reader(request, secret.secret_id, secret.version, text)
        except Undecryptable:
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"the vault cannot decrypt the record of {secret.secret_id}; `keyferry vault verify` shows why",
            ) from None
        except (UnknownSuite, ValueError):
            raise RequestRejected(
                ErrorCode.INVALID,
                "the reader's public key cannot be sealed to: run it and the vault in the same version",
            ) from None


def _not_found(request: LeaseIntegrationSecret) -> RequestRejected:
    if request.secret_id is None:
        return missing_kind(request.tenant, request.kind)
    return missing(request.tenant, request.secret_id)


def _act(
    reader: Role,
    request: LeaseIntegrationSecret,
    target: str,
    outcome: AuditOutcome = AuditOutcome.DONE,
    **details: str,
) -> Act:
    known = {"kind": request.kind.value, "instance": request.instance_id[:64], **details}
    return Act(reader.value, LEASE, request.tenant, target, outcome, known)
