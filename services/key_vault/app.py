"""Assembly of the key vault's process."""

import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from keyferry.contracts.addresses import AddressPolicy
from keyferry.contracts.internal_services import INTERNAL_SERVICES_VIEW
from keyferry.contracts.topology import ENDPOINTS_VIEW, PROVIDER_KEYS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.event_outbox import EventRelay
from keyferry.runtime.database.leader import RelayState
from keyferry.runtime.database.outbox import Relay
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import CannotStart, load
from keyferry.runtime.providers import follow_providers
from keyferry.runtime.tiers import load_tiers
from keyferry.runtime.views import KvView, ViewWriter
from keyferry.sealing.intake import IntakeOpener
from services.key_vault.database.tables import SCHEMA, audit_sequence, event_outbox, outbox
from services.key_vault.database.transaction import Database
from services.key_vault.encryption.data_key_store import DataKeyStore
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekProvider, KekUnavailable
from services.key_vault.handlers import HandlerDependencies, Handlers
from services.key_vault.integration_secrets.leases import SecretLeaseService
from services.key_vault.integration_secrets.service import IntegrationDependencies, IntegrationSecretService
from services.key_vault.integration_secrets.store import IntegrationSecretStore
from services.key_vault.integration_secrets.sweeper import IntegrationSweeper
from services.key_vault.keys.auth_failures import AuthFailures
from services.key_vault.keys.fingerprint_store import FingerprintStore
from services.key_vault.keys.importer import ImportRules, KeyImporter
from services.key_vault.keys.record_store import RecordStore
from services.key_vault.keys.reminder_store import ReminderStore
from services.key_vault.keys.reminders import Reminders
from services.key_vault.keys.retesting import Retester
from services.key_vault.keys.service import KeyDependencies, KeyService
from services.key_vault.keys.spend_limits import SpendLimits
from services.key_vault.keys.store import KeyStore
from services.key_vault.keys.sweeper import KeySweeper
from services.key_vault.keys.testing import KeyTesting
from services.key_vault.leases.alarms import LeaseAlarms
from services.key_vault.leases.lease_watch import LeaseWatch
from services.key_vault.leases.policy import check_tenant
from services.key_vault.leases.service import LeaseService, ask_over_bus
from services.key_vault.maintenance.admin import VaultAdmin
from services.key_vault.maintenance.data_key_rotator import DataKeyRotator
from services.key_vault.maintenance.integrity_check import IntegrityCheck
from services.key_vault.maintenance.kek_rotator import KekRotator
from services.key_vault.maintenance.kek_scheduler import KekRotationScheduler
from services.key_vault.settings import VaultSettings
from services.key_vault.tenant_data import TenantShredder

_log = logging.getLogger(__name__)

VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"
_GRANTS_OFF = (
    "KEYFERRY_GRANTS is off: a worker or router that was broken into can get every tenant's keys. Set it to `required` once every"
    " process is of this version"
)
_POOL_SIZE = 14
"""Two relays, the key sweeper and the KEK scheduler hold one connection each; leases must not wait for those."""

Clock = Callable[[], datetime]


class Vault:
    """The long-lived parts of one vault process: stores, encryption, relays, the view of tenants, background tasks."""

    def __init__(self, service: Service, settings: VaultSettings, clock: Clock) -> None:
        self._bus = service.bus
        self._settings = settings
        self.clock = clock
        self.engine = engine_for(settings, pool_size=_POOL_SIZE)
        self.database = Database(self.engine, clock)
        self.keys = KeyStore(self.database)
        self.records = RecordStore(self.database)
        self.fingerprints = FingerprintStore(self.database)
        self.integrations = IntegrationSecretStore(self.database)
        self.tenants = KvView(service.bus, TENANTS_VIEW)
        self.endpoints = KvView(service.bus, ENDPOINTS_VIEW)
        self.internal_services = KvView(service.bus, INTERNAL_SERVICES_VIEW)
        self.keks: KekProvider = settings.keks()
        self.data_keys = DataKeys(DataKeyStore(self.database), self.keks, settings.deployment_id)
        self.encryption = EnvelopeEncryption(self.data_keys, settings.deployment_id, settings.fingerprint_key())
        self.integrity = IntegrityCheck(self.database, self.keks, self.data_keys, self.encryption)
        self.kek_rotator = KekRotator(self.database, self.keks, self.data_keys)
        self.kek_scheduler = KekRotationScheduler(
            self.database, self.keks, self.kek_rotator, settings.kek_age_policy(), clock
        )
        self.enrolled = settings.enrolled_workers()
        self.alarms = LeaseAlarms(self.database, LeaseWatch(settings.lease_alarm_per_minute), clock, self.on_commit)
        self.leases = LeaseService(
            self.database,
            self.encryption,
            settings.signing_key(),
            self.enrolled,
            clock,
            ask_over_bus(service.bus),
            settings.grant_check(self.internal_services.get),
            self.alarms,
            lease_seconds=settings.lease_seconds,
            check_tenant=lambda request: check_tenant(self.tenants.get(request.tenant), request, settings.byok()),
        )
        self.testing = KeyTesting(self.leases, clock)
        self.retester = Retester(self.keys, self.records, self.encryption, self.testing, clock, random.random)
        self.reminders = Reminders(ReminderStore(self.database), self.keys, settings.reminder_policy(), clock)
        self.sweeper = KeySweeper(self.database, self.keys, self.retester, self.reminders, clock)
        self.integration_sweeper = IntegrationSweeper(self.integrations, clock)
        self._relay: Relay | None = None
        self._events: EventRelay | None = None

    @property
    def state(self) -> RelayState:
        """What the relay to the view is doing."""
        return self._relay.state if self._relay else RelayState.WAITING

    def publishes(self) -> bool:
        """Return whether changes reach the view and the streams."""
        return self._relay is not None and self._relay.synced and self._events is not None and self._events.synced

    def on_commit(self) -> None:
        """Wake the relays to publish what was committed."""
        if self._relay is not None and self._events is not None:
            self._relay.wake()
            self._events.wake()

    async def open(self) -> None:
        """Wait for the database, check that every record can be decrypted, then publish. Raises CannotStart."""
        await open_database(self.engine, SCHEMA, VERSIONS_DIR)
        if self._settings.grants == "off":
            _log.warning(_GRANTS_OFF)
        try:
            await self.keks.refresh()
            await self.integrity.check_at_start(start_anyway=self._settings.start_undecryptable)
        except KekUnavailable as error:
            raise CannotStart(f"the KEK provider does not respond: {error}") from None
        await self.tenants.start()
        await self.endpoints.start()
        await self.internal_services.start()
        writers = {PROVIDER_KEYS_VIEW.name: ViewWriter(self._bus.client, PROVIDER_KEYS_VIEW)}
        self._relay = Relay(self.engine, outbox, writers, self.keys.view_contents)
        self._events = EventRelay(self.engine, event_outbox, audit_sequence, lambda: self._bus.jetstream)
        self._bus.on_reconnect(self._relay.recheck)
        self._relay.start()
        self._events.start()
        self.sweeper.start(self.on_commit)
        self.integration_sweeper.start(self.on_commit)
        self.kek_scheduler.start(self.on_commit)

    async def close(self) -> None:
        """Stop all tasks and disconnect; unpublished changes stay in the outboxes."""
        await self.sweeper.stop()
        await self.integration_sweeper.stop()
        await self.kek_scheduler.stop()
        await self.kek_rotator.stop()
        if self._relay is not None and self._events is not None:
            await self._relay.stop()
            await self._events.stop()
        await self.tenants.stop()
        await self.endpoints.stop()
        await self.internal_services.stop()
        await self.engine.dispose()


def create_app(settings: VaultSettings | None = None) -> Service:
    """Return a process of the key vault, with `settings` or those of the environment. Raises SettingsError."""
    settings = settings or load(VaultSettings)
    service = Service(Role.KEY_VAULT, settings)
    vault = Vault(service, settings, partial(datetime.now, UTC))
    Handlers(_handler_dependencies(vault, settings), vault.on_commit).register(service.bus)
    follow_providers(service)
    service.opens(vault.open, vault.close)
    service.needs_view(vault.tenants)
    service.needs_view(vault.internal_services)
    service.needs("PostgreSQL, and the view of provider keys brought in line with it", vault.publishes)
    service.facts = lambda: {
        "relay": vault.state.value,
        "kek": vault.keks.describe().primary,
        "enrolled_workers": str(len(vault.enrolled)),
        "grants": settings.grants,
        **vault.alarms.facts(),
    }
    service.degraded = lambda: [*([_GRANTS_OFF] if settings.grants == "off" else []), *vault.alarms.degraded()]
    return service


def _handler_dependencies(vault: Vault, settings: VaultSettings) -> HandlerDependencies:
    rules = ImportRules(
        byok=settings.byok(),
        operator_urls=settings.provider_urls,
        private_networks=bool(settings.egress_allow),
        addresses=AddressPolicy(settings.egress_allow),
        revert_after=settings.revert_after(),
        tiers=load_tiers(settings.tier_file),
    )
    opener = settings.intake_opener()
    public_rules = {"base_urls": settings.provider_urls, "private_networks": rules.private_networks}
    keys = KeyService(
        KeyDependencies(
            database=vault.database,
            keys=vault.keys,
            records=vault.records,
            fingerprints=vault.fingerprints,
            encryption=vault.encryption,
            testing=vault.testing,
            retester=vault.retester,
            importer=KeyImporter(opener, vault.encryption.fingerprint, rules),
            tenant_of=vault.tenants.get,
            has_endpoint=lambda tenant, name: vault.endpoints.get(f"{tenant}.{name}") is not None,
            rules=rules,
            clock=vault.clock,
            jitter=random.random,
        )
    )
    integrations = _integration_dependencies(vault, opener, rules)
    return HandlerDependencies(
        keys=keys,
        admin=_admin(vault),
        leases=vault.leases,
        auth_failures=AuthFailures(vault.keys, vault.clock),
        spend_limits=SpendLimits(vault.keys, vault.on_commit, vault.clock),
        reminders=vault.reminders,
        intake_key=opener.intake_key.model_copy(update=public_rules),
        shredder=TenantShredder(vault.engine, vault.database, vault.encryption),
        integrations=IntegrationSecretService(integrations),
        webhook_secrets=IntegrationSecretService(integrations, by_notifier=True),
        secret_leases=SecretLeaseService(vault.database, vault.integrations, vault.encryption, vault.clock),
    )


def _admin(vault: Vault) -> VaultAdmin:
    return VaultAdmin(
        database=vault.database,
        keys=vault.keys,
        integrations=vault.integrations,
        fingerprints=vault.fingerprints,
        encryption=vault.encryption,
        kek_rotator=vault.kek_rotator,
        kek_scheduler=vault.kek_scheduler,
        data_key_rotator=DataKeyRotator(vault.database, vault.data_keys, vault.encryption, vault.integrity),
        integrity=vault.integrity,
    )


def _integration_dependencies(vault: Vault, opener: IntakeOpener, rules: ImportRules) -> IntegrationDependencies:
    return IntegrationDependencies(
        database=vault.database,
        store=vault.integrations,
        encryption=vault.encryption,
        opener=opener,
        tenant_of=vault.tenants.get,
        addresses=rules.addresses,
        clock=vault.clock,
    )
