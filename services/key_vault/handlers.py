"""The vault's doors: management requests, workers that register and lease, and what the streams tell of keys."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from keyferry.contracts.key import (
    AddKey,
    EditKey,
    GetIntakeKey,
    IntakeKey,
    KekRotation,
    KeyRemoved,
    KeyTest,
    ListKeys,
    ProviderKey,
    ProviderKeys,
    Registered,
    RemoveKey,
    RevertKey,
    RotateDataKeys,
    RotateKek,
    RotateKey,
    Shredded,
    ShredTenant,
    TestKey,
    TryKey,
    VaultReport,
    VerifyVault,
    WorkerRegistration,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import (
    ATTEMPT_FINISHED,
    DATA_KEY_ROTATE,
    INTAKE_KEY_GET,
    KEK_ROTATE,
    KEY_ADD,
    KEY_EDIT,
    KEY_LEASE,
    KEY_LIST,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_SPENT,
    KEY_TEST,
    KEY_TRY,
    VAULT_SHRED,
    VAULT_VERIFY,
    WORKER_REGISTER,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.errors import RequestRejected
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.keys.auth_failures import AuthFailures
from services.key_vault.keys.reminders import Reminders
from services.key_vault.keys.service import KeyService
from services.key_vault.keys.spend_limits import SpendLimits
from services.key_vault.leases.service import LeaseService
from services.key_vault.maintenance.admin import VaultAdmin

_CHANGED = "so nobody knows whether the change was made: look at the list before asking again"
_READ = "so it cannot tell: ask again in a moment"


@dataclass(frozen=True, slots=True)
class Rooms:
    """What stands behind the doors."""

    management: KeyService
    stewardship: VaultAdmin
    delivery: LeaseService
    refusals: AuthFailures
    spending: SpendLimits
    notices: Reminders
    intake_key: IntakeKey


class Handlers:
    """Answers for one process. `committed` is called after whatever may have changed something.

    Every method raises Refused where the answer is no.
    """

    def __init__(self, rooms: Rooms, committed: Callable[[], None]) -> None:
        self._rooms = rooms
        self._committed = committed

    def register(self, bus: Bus) -> None:
        """Hear on `bus` whatever the topology has the vault hear."""
        bus.respond(INTAKE_KEY_GET, self.intake_key)
        bus.respond(KEY_ADD, self.add)
        bus.respond(KEY_TRY, self.try_)
        bus.respond(KEY_TEST, self.test)
        bus.respond(KEY_ROTATE, self.rotate)
        bus.respond(KEY_REVERT, self.revert)
        bus.respond(KEY_EDIT, self.edit)
        bus.respond(KEY_REMOVE, self.remove)
        bus.respond(KEY_LIST, self.list_)
        bus.respond(KEK_ROTATE, self.rotate_kek)
        bus.respond(DATA_KEY_ROTATE, self.re_encrypt)
        bus.respond(VAULT_VERIFY, self.verify)
        bus.respond(VAULT_SHRED, self.shred)
        bus.respond(WORKER_REGISTER, self.register_worker)
        bus.subscribe(KEY_LEASE, self._rooms.delivery.on_lease)
        bus.pull(ATTEMPT_FINISHED, self._rooms.refusals.on_attempts)
        bus.pull(KEY_SPENT, self._rooms.spending.on_spent)

    async def intake_key(self, command: GetIntakeKey) -> IntakeKey:
        """The public key that provider keys are sealed to."""
        return self._rooms.intake_key

    async def add(self, command: AddKey) -> ProviderKey:
        """Store a key."""
        async with self._answering(_CHANGED):
            return self._rooms.notices.shown(await self._rooms.management.add(command))

    async def try_(self, command: TryKey) -> KeyTest:
        """Test a key without storing it."""
        async with self._answering(_READ):
            return await self._rooms.management.try_(command)

    async def test(self, command: TestKey) -> ProviderKey:
        """Test a stored key."""
        async with self._answering(_CHANGED):
            return self._rooms.notices.shown(await self._rooms.management.test(command))

    async def rotate(self, command: RotateKey) -> ProviderKey:
        """Replace a key, with overlap."""
        async with self._answering(_CHANGED):
            return self._rooms.notices.shown(await self._rooms.management.rotate(command))

    async def revert(self, command: RevertKey) -> ProviderKey:
        """Undo the last rotation of a key."""
        async with self._answering(_CHANGED):
            return self._rooms.notices.shown(await self._rooms.management.revert(command))

    async def edit(self, command: EditKey) -> ProviderKey:
        """Change what is known of a key."""
        async with self._answering(_CHANGED):
            return self._rooms.notices.shown(await self._rooms.management.edit(command))

    async def remove(self, command: RemoveKey) -> KeyRemoved:
        """Destroy a key."""
        async with self._answering(_CHANGED):
            removed = await self._rooms.management.remove(command)
        return removed.model_copy(update={"key": self._rooms.notices.shown(removed.key)})

    async def list_(self, command: ListKeys) -> ProviderKeys:
        """A tenant's keys, masked."""
        async with self._answering(_READ):
            found = await self._rooms.management.all_of(command.tenant, command.created_by)
        return ProviderKeys(keys=[self._rooms.notices.shown(key) for key in found])

    async def rotate_kek(self, command: RotateKek) -> KekRotation:
        """Rewrap data keys, or tell how far that is."""
        async with self._answering(_READ):
            return await self._rooms.stewardship.rotate(command)

    async def re_encrypt(self, command: RotateDataKeys) -> VaultReport:
        """Seal a tenant's keys under a fresh data key."""
        async with self._answering(_CHANGED):
            return await self._rooms.stewardship.re_encrypt(command)

    async def verify(self, command: VerifyVault) -> VaultReport:
        """Open every record."""
        async with self._answering(_READ):
            return await self._rooms.stewardship.verify(command)

    async def shred(self, command: ShredTenant) -> Shredded:
        """Destroy a tenant's data keys."""
        async with self._answering(_CHANGED):
            return await self._rooms.stewardship.shred(command)

    async def register_worker(self, registration: WorkerRegistration) -> Registered:
        """Know a worker process by its short-lived public key."""
        async with self._answering(_READ):
            return await self._rooms.delivery.register(registration)

    @asynccontextmanager
    async def _answering(self, then: str) -> AsyncIterator[None]:
        """Rules and outages as refusals. Also a refusal has written something down that is to be told."""
        try:
            yield
        except RequestRejected as error:
            raise Refused(error.code, error.message) from None
        except DatabaseUnavailable:
            raise Refused(
                ErrorCode.UNAVAILABLE,
                f"the vault cannot reach its database, {then}; `keyferry doctor` tells what is missing",
            ) from None
        except KekUnavailable as error:
            raise Refused(
                ErrorCode.UNAVAILABLE, f"whoever holds the KEKs does not answer: {error}. Ask again in a moment"
            ) from None
        except SettingsError as error:
            raise Refused(ErrorCode.UNAVAILABLE, str(error)) from None
        finally:
            self._committed()
