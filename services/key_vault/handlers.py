"""The vault's bus handlers: requests about keys, integration secrets and the vault; registrations, leases, two streams."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from keyferry.contracts.alert_management import KEY_DISABLE
from keyferry.contracts.envelope import Message
from keyferry.contracts.erasure_management import TENANT_ERASE_VAULT
from keyferry.contracts.integration_management import (
    INTEGRATION_SECRET_LEASE_TO_BILLING,
    INTEGRATION_SECRET_LEASE_TO_NOTIFIER,
    INTEGRATION_SECRET_LIST,
    INTEGRATION_SECRET_REMOVE,
    INTEGRATION_SECRET_ROTATE,
    INTEGRATION_SECRET_SAVE,
    WEBHOOK_SECRET_REMOVE,
    WEBHOOK_SECRET_ROTATE,
    WEBHOOK_SECRET_SAVE,
)
from keyferry.contracts.key import GetIntakeKey, IntakeKey, KeyRemoved, ListKeys, ProviderKey, ProviderKeys, RemoveKey
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
    KEYS_SPENT,
    VAULT_SHRED,
    VAULT_VERIFY,
    WORKER_REGISTER,
)
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.erasure_handler import BEYOND_ITS_SCOPE
from keyferry.runtime.database.errors import DatabaseUnavailable
from keyferry.runtime.process.settings import SettingsError
from services.key_vault.database.errors import RequestRejected
from services.key_vault.encryption.kek_providers.protocol import KekUnavailable
from services.key_vault.integration_secrets.leases import SecretLeaseService
from services.key_vault.integration_secrets.service import IntegrationSecretService
from services.key_vault.keys.auth_failures import AuthFailures
from services.key_vault.keys.reminders import Reminders
from services.key_vault.keys.service import KeyService
from services.key_vault.keys.spend_limits import SpendLimits
from services.key_vault.keys.validation import find_unlisted
from services.key_vault.leases.service import LeaseService
from services.key_vault.maintenance.admin import VaultAdmin
from services.key_vault.tenant_data import TenantShredder

Command = TypeVar("Command", bound=Message)
Reply = TypeVar("Reply", bound=Message)

_CHANGE_UNKNOWN = "so it is not known whether the change was made: check the list before trying again"
_TRY_AGAIN = "so the request cannot be answered: try again in a moment"


@dataclass(frozen=True, slots=True)
class HandlerDependencies:
    """What the handlers call."""

    keys: KeyService
    admin: VaultAdmin
    leases: LeaseService
    auth_failures: AuthFailures
    spend_limits: SpendLimits
    reminders: Reminders
    intake_key: IntakeKey
    shredder: TenantShredder
    integrations: IntegrationSecretService
    webhook_secrets: IntegrationSecretService
    """For the notifier."""
    secret_leases: SecretLeaseService


class Handlers:
    """Registers the handlers of one process. `on_commit` is called after every request that may have changed something."""

    def __init__(self, uses: HandlerDependencies, on_commit: Callable[[], None]) -> None:
        self._uses = uses
        self._on_commit = on_commit

    def register(self, bus: Bus) -> None:
        """Subscribe to everything that the topology assigns to the vault."""
        keys, admin, leases = self._uses.keys, self._uses.admin, self._uses.leases
        bus.respond(INTAKE_KEY_GET, self._get_intake_key)
        bus.respond(KEY_ADD, self._changing(self._describing(keys.add)))
        bus.respond(KEY_TRY, self._reading(keys.try_))
        bus.respond(KEY_TEST, self._changing(self._describing(keys.test)))
        bus.respond(KEY_ROTATE, self._changing(self._describing(keys.rotate)))
        bus.respond(KEY_REVERT, self._changing(self._describing(keys.revert)))
        bus.respond(KEY_EDIT, self._changing(self._describing(keys.edit)))
        bus.respond(KEY_DISABLE, self._changing(self._describing(keys.disable)))
        bus.respond(KEY_REMOVE, self._changing(self._remove))
        bus.respond(KEY_LIST, self._reading(self._list))
        bus.respond(KEK_ROTATE, self._reading(admin.rotate_kek))
        bus.respond(DATA_KEY_ROTATE, self._changing(admin.rotate_data_keys))
        bus.respond(VAULT_VERIFY, self._reading(admin.verify))
        bus.respond(VAULT_SHRED, self._changing(admin.shred))
        bus.respond(TENANT_ERASE_VAULT, self._changing(self._uses.shredder.erase), all_tenants=BEYOND_ITS_SCOPE)
        bus.respond(WORKER_REGISTER, self._reading(leases.register))
        bus.subscribe(KEY_LEASE, leases.on_lease)
        bus.pull(ATTEMPT_FINISHED, self._uses.auth_failures.on_attempts)
        bus.pull(KEY_SPENT, self._uses.spend_limits.on_spent, KEYS_SPENT)

        self._register_integrations(bus)

    def _register_integrations(self, bus: Bus) -> None:
        managed, webhooks, leases = self._uses.integrations, self._uses.webhook_secrets, self._uses.secret_leases
        bus.respond(INTEGRATION_SECRET_SAVE, self._changing(managed.save))
        bus.respond(INTEGRATION_SECRET_ROTATE, self._changing(managed.rotate))
        bus.respond(INTEGRATION_SECRET_REMOVE, self._changing(managed.remove))
        bus.respond(INTEGRATION_SECRET_LIST, self._reading(managed.list_))
        bus.respond(WEBHOOK_SECRET_SAVE, self._changing(webhooks.save))
        bus.respond(WEBHOOK_SECRET_ROTATE, self._changing(webhooks.rotate))
        bus.respond(WEBHOOK_SECRET_REMOVE, self._changing(webhooks.remove))
        bus.respond(INTEGRATION_SECRET_LEASE_TO_BILLING, self._reading(leases.to_billing))
        bus.respond(INTEGRATION_SECRET_LEASE_TO_NOTIFIER, self._reading(leases.to_notifier))

    async def _get_intake_key(self, command: GetIntakeKey) -> IntakeKey:
        return self._uses.intake_key

    async def _remove(self, command: RemoveKey) -> KeyRemoved:
        removed = await self._uses.keys.remove(command)
        return removed.model_copy(update={"key": self._describe(removed.key)})

    async def _list(self, command: ListKeys) -> ProviderKeys:
        found = await self._uses.keys.list_keys(command)
        if command.brief:
            return found.model_copy(update={"keys": [self._uses.reminders.add_age(key) for key in found.keys]})
        return found.model_copy(update={"keys": [self._describe(key) for key in found.keys]})

    def _describe(self, key: ProviderKey) -> ProviderKey:
        """Return a key with what is derived from its row: its age, and models that its provider does not list."""
        with_age = self._uses.reminders.add_age(key)
        return with_age.model_copy(update={"unlisted_models": find_unlisted(key)})

    def _describing(
        self, handle: Callable[[Command], Awaitable[ProviderKey]]
    ) -> Callable[[Command], Awaitable[ProviderKey]]:
        async def handle_and_describe(command: Command) -> ProviderKey:
            return self._describe(await self._uses.keys.mark_paused(await handle(command)))

        return handle_and_describe

    def _changing(self, handle: Callable[[Command], Awaitable[Reply]]) -> Callable[[Command], Awaitable[Reply]]:
        return self._translate_errors(handle, _CHANGE_UNKNOWN)

    def _reading(self, handle: Callable[[Command], Awaitable[Reply]]) -> Callable[[Command], Awaitable[Reply]]:
        return self._translate_errors(handle, _TRY_AGAIN)

    def _translate_errors(
        self, handle: Callable[[Command], Awaitable[Reply]], advice: str
    ) -> Callable[[Command], Awaitable[Reply]]:
        """Wrap a handler so that it raises Refused for rejections and outages, with `advice` for the database's."""

        async def handle_or_refuse(command: Command) -> Reply:
            try:
                return await handle(command)
            except RequestRejected as error:
                raise Refused(error.code, error.message) from None
            except DatabaseUnavailable:
                raise Refused(
                    ErrorCode.UNAVAILABLE,
                    f"the vault cannot reach its database, {advice}; `keyferry doctor` shows what is missing",
                ) from None
            except KekUnavailable as error:
                raise Refused(
                    ErrorCode.UNAVAILABLE, f"the KEK provider does not respond: {error}. Try again in a moment"
                ) from None
            except SettingsError as error:
                raise Refused(ErrorCode.UNAVAILABLE, str(error)) from None
            finally:
                self._on_commit()  # a refusal has committed an audit event, too

        return handle_or_refuse
