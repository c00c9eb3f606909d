"""What people do with provider keys: add, try, test, rotate, revert, edit, remove, list.

A key is tested before it is stored, and whatever is refused leaves nothing behind but its line in the audit.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from keyferry.contracts.audit import AuditOutcome
from keyferry.contracts.key import (
    AddKey,
    EditKey,
    KeyChange,
    KeyCommand,
    KeyRemoved,
    KeyTest,
    NamedKey,
    ProviderKey,
    RemoveKey,
    RevertKey,
    RotateKey,
    TestKey,
    TryKey,
)
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant
from services.key_vault.database.errors import RequestRejected
from services.key_vault.database.tables import EncryptedRecord
from services.key_vault.database.transaction import Act
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.record_cipher import Undecryptable
from services.key_vault.keys import editing, lifecycle
from services.key_vault.keys import messages as wording
from services.key_vault.keys import quota as admission
from services.key_vault.keys import validation as intake
from services.key_vault.keys.importer import ImportRules, KeyImporter, SecretProvenance
from services.key_vault.keys.retesting import Retester
from services.key_vault.keys.store import Conflict, DuplicateKey, KeyStore, QuotaExceeded
from services.key_vault.keys.testing import KeyTesting


class KeyService:
    """Carries out what people ask. Every method raises Rejected, DatabaseUnavailable and KekUnavailable.

    `tenant_of` finds a tenant in the view, `clock` gives the time in UTC, `jitter` numbers from 0 to 1.
    """

    def __init__(
        self,
        *,
        store: KeyStore,
        encryption: EnvelopeEncryption,
        checks: KeyTesting,
        retester: Retester,
        arrivals: KeyImporter,
        tenant_of: Callable[[str], Tenant | None],
        rules: ImportRules,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
    ) -> None:
        self._store = store
        self._custody = encryption
        self._checks = checks
        self._retester = retester
        self._arrivals = arrivals
        self._tenant_of = tenant_of
        self._rules = rules
        self._clock = clock
        self._jitter = jitter

    async def add(self, command: AddKey) -> ProviderKey:
        """Store a key that its test did not condemn."""
        async with self._accountable(command, "key.add", command.provider):
            key, secret = await self._newcomer(command)
            check = await self._checks.run(key, secret)
            require_usable(key, check, save_untested=command.save_untested)
            tested = lifecycle.tested(key, check, self._jitter())
            sealed = await self._sealed(tested, secret)
            await self._insert(tested, sealed, command.actor)
            return tested

    async def try_(self, command: TryKey) -> KeyTest:
        """Test a key and forget it."""
        async with self._accountable(command, "key.try", command.provider):
            self._admit(command.tenant)
            key, secret = self._arrivals.newcomer(command, "on trial", self._clock())
            check = await self._checks.run(key, secret)
        details = {"origin": key.origin, "result": check.result.value}
        await self._store.act(Act(command.actor, "key.try", command.tenant, command.provider, details=details))
        return check

    async def test(self, command: TestKey) -> ProviderKey:
        """Test a stored key now."""
        async with self._accountable(command, "key.test", command.key_id):
            key = await self._named(command)
            return await self._retester.test(key, command.actor)

    async def rotate(self, command: RotateKey) -> ProviderKey:
        """Put another secret in the key's place; the former one is kept for a while."""
        async with self._accountable(command, "key.rotate", command.key_id):
            self._admit(command.tenant)
            key = await self._named(command)
            secret = self._arrivals.unsealed(command.sealed, key)
            now = self._clock()
            given = SecretProvenance(now, command.actor)
            fresh = self._arrivals.replaced(key, secret, given, now + self._rules.revert_after)
            await self._require_new(fresh, key.key_id)
            check = await self._checks.run(fresh, secret)
            require_usable(fresh, check, save_untested=command.save_untested)
            tested = lifecycle.tested(fresh, check, self._jitter())
            return await self._replace(key, tested, secret, Act(command.actor, "key.rotate", key.tenant, key.key_id))

    async def revert(self, command: RevertKey) -> ProviderKey:
        """Go back to the secret before the last rotation. What cannot be tested now is taken back all the same."""
        async with self._accountable(command, "key.revert", command.key_id):
            key = await self._named(command)
            secret, given = await self._former(key)
            fresh = self._arrivals.replaced(key, secret, given, None)
            await self._require_new(fresh)
            check = await self._checks.run(fresh, secret)
            require_usable(fresh, check, save_untested=True)
            tested = lifecycle.tested(fresh, check, self._jitter())
            return await self._replace(key, tested, secret, Act(command.actor, "key.revert", key.tenant, key.key_id))

    async def edit(self, command: EditKey) -> ProviderKey:
        """Change what is known of a key."""
        async with self._accountable(command, "key.edit", command.key_id):
            key = await self._named(command)
            after = editing.apply_edit(key, command, self._clock(), self._jitter())
            changed = editing.changed_names(key, after)
            act = Act(command.actor, "key.edit", key.tenant, key.key_id, details={"changed": changed})
            detail = wording.became(after, f"was changed ({changed})")
            try:
                return await self._store.update(key, after, act, KeyChange.EDITED, detail)
            except Conflict:
                raise _overtaken() from None

    async def remove(self, command: RemoveKey) -> KeyRemoved:
        """Destroy a key."""
        async with self._accountable(command, "key.remove", command.key_id):
            key = await self._named(command)
            detail = f"{wording.named(key)} was removed"
            try:
                await self._store.delete(key, Act(command.actor, "key.remove", key.tenant, key.key_id), detail)
            except Conflict:
                raise _overtaken() from None
        left = [other for other in await self._store.of_tenant(key.tenant) if other.provider == key.provider]
        return KeyRemoved(key=key, keys_left=len(left))

    async def all_of(self, tenant: str, created_by: str | None = None) -> list[ProviderKey]:
        """A tenant's keys, in the order in which they are used; with `created_by`, those whose secret this one knows."""
        return intake.sort_by_use(await self._store.of_tenant(tenant, created_by))

    # --- inside

    @asynccontextmanager
    async def _accountable(self, command: KeyCommand, action: str, target: str) -> AsyncIterator[None]:
        """Write a refusal down before it is told."""
        try:
            yield
        except RequestRejected as error:
            reason = {"reason": error.message}
            await self._store.act(
                Act(command.actor, action, command.tenant, target, AuditOutcome.REFUSED, details=reason)
            )
            raise

    def _admit(self, tenant: str) -> None:
        admission.check_byok_allowed(tenant, self._tenant_of(tenant), self._rules.byok)

    async def _newcomer(self, command: AddKey) -> tuple[ProviderKey, Secret]:
        """The key as it would be stored, untested, when nothing speaks against it. Raises Rejected."""
        self._admit(command.tenant)
        now = self._clock()
        expires_at = editing.future(command.expires_at, now)
        key, secret = self._arrivals.newcomer(command, command.label, now)
        if command.once and await self._store.had_fingerprint(key):
            raise RequestRejected(
                ErrorCode.CONFLICT,
                "this key was stored before, and was removed or rotated since: it is not imported again",
            )
        await self._require_new(key)
        self._require_room(key, await self._store.of_tenant(key.tenant))
        chosen = {
            "priority": command.priority,
            "weight": command.weight,
            "allowed_models": command.allowed_models,
            "expires_at": expires_at,
            "monthly_limit_usd": command.monthly_limit_usd,
        }
        return key.model_copy(update=chosen), secret

    async def _require_new(self, key: ProviderKey, replaced_id: str | None = None) -> None:
        same = await self._store.of_fingerprint(key.tenant, key.provider, key.fingerprint)
        intake.check_not_duplicate([] if same is None else [same], replaced_id)

    def _require_room(self, key: ProviderKey, stored: list[ProviderKey]) -> None:
        admission.check_quota(key.tenant, self._tenant_of(key.tenant), key.provider, stored)

    async def _insert(self, key: ProviderKey, sealed: EncryptedRecord, actor: str) -> None:
        """Store a key. What was looked at before its test is guarded once more: others may have been faster."""
        details = {"provider": key.provider, "label": key.label, "origin": key.origin, "status": key.status.value}
        act = Act(actor, "key.add", key.tenant, key.key_id, details=details)
        at_most = admission.keys_per_provider(key.tenant, self._tenant_of(key.tenant))
        try:
            await self._store.insert(key, sealed, act, wording.became(key, "was added"), at_most=at_most)
        except DuplicateKey:
            await self._require_new(key)
            raise _overtaken() from None
        except QuotaExceeded:
            self._require_room(key, await self._store.of_tenant(key.tenant))
            raise _overtaken() from None
        except Conflict:
            raise _overtaken() from None

    async def _named(self, command: NamedKey) -> ProviderKey:
        key = await self._store.get(command.tenant, command.key_id)
        if key is None:
            raise RequestRejected(
                ErrorCode.NOT_FOUND,
                f"{command.tenant} has no key {command.key_id}: `keyferry keys list --tenant {command.tenant}` shows them",
            )
        return key

    async def _former(self, key: ProviderKey) -> tuple[Secret, SecretProvenance]:
        """The secret before the last rotation, as old as it is. Raises Rejected when it is not kept any more."""
        kept = key.revert_until is not None and self._clock() < key.revert_until
        former = await self._store.former(key) if kept else None
        sealed = None if former is None else await self._store.sealed(key.tenant, key.key_id, former.version)
        if former is None or sealed is None:
            raise RequestRejected(
                ErrorCode.CONFLICT,
                f"{key.key_id} has no former version to go back to: it was not rotated lately; add the former key anew",
            )
        try:
            return await self._custody.open(former, sealed), SecretProvenance(former.rotated_at, former.rotated_by)
        except Undecryptable as error:
            raise RequestRejected(ErrorCode.CONFLICT, f"the former version cannot be opened: {error}") from None

    async def _replace(self, before: ProviderKey, after: ProviderKey, secret: Secret, act: Act) -> ProviderKey:
        rotated = act.action == "key.rotate"
        change = KeyChange.ROTATED if rotated else KeyChange.REVERTED
        detail = wording.became(
            after, "was rotated" if rotated else "went back to the version before its last rotation"
        )
        try:
            return await self._store.update(before, after, act, change, detail, await self._sealed(after, secret))
        except Conflict:
            raise _overtaken() from None

    async def _sealed(self, key: ProviderKey, secret: Secret) -> EncryptedRecord:
        try:
            return await self._custody.keep(key.tenant, key.provider, key.key_id, key.version, key.origin, secret)
        except Undecryptable as error:
            raise RequestRejected(
                ErrorCode.UNAVAILABLE, f"nothing can be sealed for {key.tenant} now: {error}; `keyferry vault verify`"
            ) from None


def require_usable(key: ProviderKey, check: KeyTest, *, save_untested: bool) -> None:
    """Nothing when a test lets a new secret be stored. Raises Rejected telling the steps."""
    event, title = lifecycle.classify_test(check), PROVIDERS[key.provider].title
    told = wording.describe_steps(check.steps)
    if event is lifecycle.Event.REJECTED:
        raise RequestRejected(ErrorCode.INVALID, f"{title} does not accept this key, so nothing was stored: {told}")
    if event is lifecycle.Event.INCONCLUSIVE and not save_untested:
        raise RequestRejected(
            ErrorCode.UNAVAILABLE,
            f"whether {title} accepts this key could not be told, so nothing was stored: {told}. Try again, or store it"
            " untested (--save-untested)",
        )


def _overtaken() -> RequestRejected:
    return RequestRejected(
        ErrorCode.CONFLICT,
        "the key was changed by somebody else in this moment, so nothing was changed: look at it again",
    )
