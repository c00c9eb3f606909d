"""The requests about provider keys: add, try, test, rotate, revert, edit, remove, list.

A key is tested before it is stored, and a rejected request leaves nothing behind but its audit event.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import (
    AddKey,
    DisableKey,
    EditKey,
    KeyChange,
    KeyCommand,
    KeyRemoved,
    KeyStatus,
    KeyTest,
    ListKeys,
    NamedKey,
    ProviderKey,
    ProviderKeys,
    RemoveKey,
    RevertKey,
    RotateKey,
    TestKey,
    TryKey,
)
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.residency import EU, states_eu
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from keyferry.tiers.paused_keys import paused_keys
from services.key_vault.database.errors import Conflict, DuplicateKey, QuotaExceeded, RequestRejected
from services.key_vault.database.tables import EncryptedRecord
from services.key_vault.database.transaction import Act, Database
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys import editing, lifecycle, messages, quota
from services.key_vault.keys.fingerprint_store import FingerprintStore
from services.key_vault.keys.importer import ImportRules, KeyImporter, SecretProvenance
from services.key_vault.keys.listing import select_keys
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.keys.retesting import Retester
from services.key_vault.keys.store import KeyStore
from services.key_vault.keys.testing import KeyTesting
from services.key_vault.keys.validation import check_models, check_not_duplicate, check_server, sort_by_use


@dataclass(frozen=True, slots=True)
class KeyDependencies:
    """What the key service uses.

    `tenant_of` looks a tenant up in the view, `has_endpoint` a tenant's endpoint by its name. `clock` returns the time in UTC,
    `jitter` numbers from 0 to 1.
    """

    database: Database
    keys: KeyStore
    records: RecordStore
    fingerprints: FingerprintStore
    encryption: EnvelopeEncryption
    testing: KeyTesting
    retester: Retester
    importer: KeyImporter
    tenant_of: Callable[[str], Tenant | None]
    has_endpoint: Callable[[str, str], bool]
    rules: ImportRules
    clock: Callable[[], datetime]
    jitter: Callable[[], float]


class KeyService:
    """Carries out requests about keys. Every method raises RequestRejected, DatabaseUnavailable and KekUnavailable."""

    def __init__(self, uses: KeyDependencies) -> None:
        self._uses = uses
        self._keys = uses.keys

    async def add(self, command: AddKey) -> ProviderKey:
        """Store a key unless its test fails."""
        async with self._audit_rejection(command, "key.add", command.provider):
            key, secret = await self._prepare_new(command)
            check = await self._uses.testing.run(key, secret)
            require_usable(key, check, save_untested=command.save_untested)
            tested = lifecycle.apply_test(key, check, self._uses.jitter())
            if not command.save_untested:
                check_models(tested)
            record = await self._encrypt(tested, secret)
            await self._insert(tested, record, command.actor)
            return tested

    async def try_(self, command: TryKey) -> KeyTest:
        """Test a key without storing it."""
        async with self._audit_rejection(command, "key.try", command.provider):
            self._check_byok_allowed(command.tenant)
            key, secret = self._uses.importer.import_new(command, "not stored", self._uses.clock())
            check = await self._uses.testing.run(key, secret)
        details = {"origin": key.origin, "result": check.result.value}
        act = Act(command.actor, "key.try", command.tenant, command.provider, details=details)
        await self._uses.database.audit(act)
        return check

    async def test(self, command: TestKey) -> ProviderKey:
        """Test a stored key now."""
        async with self._audit_rejection(command, "key.test", command.key_id):
            key = await self._get(command)
            return await self._uses.retester.test(key, command.actor)

    async def rotate(self, command: RotateKey) -> ProviderKey:
        """Replace the key's secret and keep the former one for the revert period."""
        async with self._audit_rejection(command, "key.rotate", command.key_id):
            self._check_byok_allowed(command.tenant)
            key = await self._get(command)
            secret = self._uses.importer.open_sealed(command.sealed, key)
            now = self._uses.clock()
            provenance = SecretProvenance(now, command.actor)
            fresh = self._uses.importer.replace_secret(key, secret, provenance, now + self._uses.rules.revert_after)
            await self._check_not_duplicate(fresh, key.key_id)
            check = await self._uses.testing.run(fresh, secret)
            require_usable(fresh, check, save_untested=command.save_untested)
            tested = lifecycle.apply_test(fresh, check, self._uses.jitter())
            return await self._replace(key, tested, secret, Act(command.actor, "key.rotate", key.tenant, key.key_id))

    async def revert(self, command: RevertKey) -> ProviderKey:
        """Go back to the secret before the last rotation, also when its test is inconclusive."""
        async with self._audit_rejection(command, "key.revert", command.key_id):
            key = await self._get(command)
            secret, provenance = await self._decrypt_former(key)
            fresh = self._uses.importer.replace_secret(key, secret, provenance, None)
            await self._check_not_duplicate(fresh)
            check = await self._uses.testing.run(fresh, secret)
            require_usable(fresh, check, save_untested=True)
            tested = lifecycle.apply_test(fresh, check, self._uses.jitter())
            return await self._replace(key, tested, secret, Act(command.actor, "key.revert", key.tenant, key.key_id))

    async def edit(self, command: EditKey) -> ProviderKey:
        """Change a key's properties."""
        async with self._audit_rejection(command, "key.edit", command.key_id):
            key = await self._get(command)
            after = editing.apply_edit(key, command, self._uses.clock(), self._uses.jitter())
            if after.name != key.name:
                self._check_server(after, await self._keys.list_for_tenant(key.tenant))
            changed = editing.name_changes(key, after)
            act = Act(command.actor, "key.edit", key.tenant, key.key_id, details=editing.describe_edit(key, after))
            detail = messages.describe_change(after, f"was changed ({changed})")
            try:
                return await self._keys.update(key, after, act, KeyChange.EDITED, detail)
            except Conflict:
                raise _changed_meanwhile() from None

    async def disable(self, command: DisableKey) -> ProviderKey:
        """Switch off a key as an alert rule of its owner asks; one that is switched off stays as it is."""
        actor = f"alert-rule:{command.rule_id}"
        edit = EditKey(tenant=command.tenant, key_id=command.key_id, disabled=True, actor=actor)
        key = await self._get(edit)
        return key if key.status is KeyStatus.DISABLED else await self.edit(edit)

    async def remove(self, command: RemoveKey) -> KeyRemoved:
        """Destroy a key."""
        async with self._audit_rejection(command, "key.remove", command.key_id):
            key = await self._get(command)
            detail = f"{messages.describe_key(key)} was removed"
            try:
                await self._keys.delete(key, Act(command.actor, "key.remove", key.tenant, key.key_id), detail)
            except Conflict:
                raise _changed_meanwhile() from None
        left = [other for other in await self._keys.list_for_tenant(key.tenant) if other.provider == key.provider]
        return KeyRemoved(key=key, keys_left=len(left))

    async def list_keys(self, query: ListKeys) -> ProviderKeys:
        """Return the keys of a tenant that a query asks for, in the order of their use."""
        stored = await self._keys.list_for_tenant(query.tenant)
        paused = paused_keys(stored, self._keys_per_provider(query.tenant))
        found = select_keys(sort_by_use(stored), query)
        return found.model_copy(
            update={"keys": [key.model_copy(update={"paused": key.key_id in paused}) for key in found.keys]}
        )

    async def mark_paused(self, key: ProviderKey) -> ProviderKey:
        """Return a key with whether it is paused, since its owner's tier includes fewer."""
        at_most = self._keys_per_provider(key.tenant)
        if at_most is None:
            return key
        paused = paused_keys(await self._keys.list_for_tenant(key.tenant), at_most)
        return key.model_copy(update={"paused": key.key_id in paused})

    def _keys_per_provider(self, tenant: str) -> int | None:
        return quota.keys_per_provider(tenant, self._uses.tenant_of(tenant), self._uses.rules.tiers)

    @asynccontextmanager
    async def _audit_rejection(self, command: KeyCommand, action: str, target: str) -> AsyncIterator[None]:
        """Audit a rejection before it is returned."""
        try:
            yield
        except RequestRejected as error:
            reason = {"reason": error.message}
            await self._uses.database.audit(
                Act(command.actor, action, command.tenant, target, AuditOutcome.REFUSED, details=reason)
            )
            raise

    def _check_byok_allowed(self, tenant: str) -> None:
        quota.check_byok_allowed(tenant, self._uses.tenant_of(tenant), self._uses.rules.byok, self._uses.rules.tiers)

    async def _prepare_new(self, command: AddKey) -> tuple[ProviderKey, Secret]:
        """Return the key as it would be stored, untested, after every check. Raises RequestRejected."""
        self._check_byok_allowed(command.tenant)
        now = self._uses.clock()
        expires_at = editing.to_future_utc(command.expires_at, now)
        editing.check_key_scope(command.tenant, command.team, command.member)
        key, secret = self._uses.importer.import_new(command, command.label, now)
        if command.once and await self._uses.fingerprints.contains(key):
            raise RequestRejected(
                ErrorCode.CONFLICT,
                "this key was stored before, and was removed or rotated since: it is not imported again",
            )
        await self._check_not_duplicate(key)
        stored = await self._keys.list_for_tenant(key.tenant)
        self._check_quota(key, stored)
        key = key.model_copy(update={"name": command.name})
        self._check_server(key, stored)
        chosen = {
            "team": command.team,
            "member": command.member,
            "priority": command.priority,
            "weight": command.weight,
            "allowed_models": command.allowed_models,
            "expires_at": expires_at,
            "monthly_limit_usd": command.monthly_limit_usd,
        }
        return key.model_copy(update=chosen), secret

    async def _check_not_duplicate(self, key: ProviderKey, replaced_id: str | None = None) -> None:
        same = await self._keys.find_by_fingerprint(key.tenant, key.provider, key.fingerprint)
        check_not_duplicate([] if same is None else [same], replaced_id)

    def _check_quota(self, key: ProviderKey, stored: list[ProviderKey]) -> None:
        quota.check_quota(key.tenant, self._uses.tenant_of(key.tenant), key.provider, stored, self._uses.rules.tiers)

    def _check_server(self, key: ProviderKey, stored: list[ProviderKey]) -> None:
        if key.name is not None and self._uses.has_endpoint(key.tenant, key.name):
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"{key.tenant} has an endpoint called {key.name}: choose another name for the key's server, or remove the"
                f" endpoint (`keyferry endpoints rm {key.name} --tenant {key.tenant}`); nothing was stored",
            )
        check_server(key, stored)

    async def _insert(self, key: ProviderKey, record: EncryptedRecord, actor: str) -> None:
        """Store a key. What was checked before its test is guarded again, since others may have been faster."""
        details = {"provider": key.provider, "label": key.label, "origin": key.origin, "status": key.status.value}
        if states_eu(key.provider, key.fields):
            details["processed_in"] = f"{EU}, as stated by {actor} for {key.tenant}"
        act = Act(actor, "key.add", key.tenant, key.key_id, details=details)
        at_most = self._keys_per_provider(key.tenant)
        try:
            await self._keys.insert(key, record, act, messages.describe_change(key, "was added"), at_most=at_most)
        except DuplicateKey:
            await self._check_not_duplicate(key)
            raise _changed_meanwhile() from None
        except QuotaExceeded:
            self._check_quota(key, await self._keys.list_for_tenant(key.tenant))
            raise _changed_meanwhile() from None
        except Conflict:
            raise _changed_meanwhile() from None

    async def _get(self, command: NamedKey) -> ProviderKey:
        key = await self._keys.get(command.tenant, command.key_id)
        if key is None:
            raise RequestRejected(
                ErrorCode.NOT_FOUND,
                f"{command.tenant} has no key {command.key_id}: `keyferry keys list --tenant {command.tenant}` shows them",
            )
        return key

    async def _decrypt_former(self, key: ProviderKey) -> tuple[Secret, SecretProvenance]:
        """Return the secret before the last rotation. Raises RequestRejected when it is no longer kept."""
        kept = key.revert_until is not None and self._uses.clock() < key.revert_until
        former = await self._uses.records.get_former(key) if kept else None
        record = None if former is None else await self._uses.records.get(key.tenant, key.key_id, former.version)
        if former is None or record is None:
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"{key.key_id} has no former version to go back to: it was not rotated recently; add the former key again",
            )
        try:
            secret = await self._uses.encryption.decrypt(former, record)
        except Undecryptable as error:
            raise RequestRejected(ErrorCode.CONFLICT, f"the former version cannot be decrypted: {error}") from None
        return secret, SecretProvenance(former.rotated_at, former.rotated_by)

    async def _replace(self, before: ProviderKey, after: ProviderKey, secret: Secret, act: Act) -> ProviderKey:
        rotated = act.action == "key.rotate"
        change = KeyChange.ROTATED if rotated else KeyChange.REVERTED
        detail = messages.describe_change(
            after, "was rotated" if rotated else "went back to the version before its last rotation"
        )
        record = await self._encrypt(after, secret)
        try:
            return await self._keys.update(before, after, act, change, detail, record)
        except Conflict:
            raise _changed_meanwhile() from None

    async def _encrypt(self, key: ProviderKey, secret: Secret) -> EncryptedRecord:
        try:
            return await self._uses.encryption.encrypt(key, secret)
        except Undecryptable as error:
            raise RequestRejected(
                ErrorCode.UNAVAILABLE,
                f"no key of {key.tenant} can be encrypted now: {error}; `keyferry vault verify` shows what is wrong",
            ) from None


def require_usable(key: ProviderKey, check: KeyTest, *, save_untested: bool) -> None:
    """Check that a test lets a new secret be stored. Raises RequestRejected with the steps."""
    event, title = lifecycle.classify_test(check), PROVIDERS.describe(key.provider).title
    steps = messages.describe_steps(check.steps)
    if check.format_warning is not None:
        steps = f"{steps}. {check.format_warning.removesuffix('.')}"
    if event is lifecycle.Event.REJECTED:
        raise RequestRejected(ErrorCode.INVALID, f"{title} does not accept this key, so nothing was stored: {steps}")
    if event is lifecycle.Event.INCONCLUSIVE and not save_untested:
        raise RequestRejected(
            ErrorCode.UNAVAILABLE,
            f"the test whether {title} accepts this key was inconclusive, so nothing was stored: {steps}. Try again, or"
            " store it untested (--save-untested)",
        )


def _changed_meanwhile() -> RequestRejected:
    return RequestRejected(
        ErrorCode.CONFLICT,
        "another request changed the key at the same moment, so nothing was changed: look at it again",
    )
