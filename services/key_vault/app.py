"""The key vault put together."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from keyferry.contracts.topology import PROVIDER_KEYS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.event_outbox import EventRelay
from keyferry.runtime.database.leader import RelayState
from keyferry.runtime.database.outbox import Relay
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import CannotStart, load
from keyferry.runtime.views import KvView, ViewWriter
from services.key_vault.encryption.data_keys import DataKeys
from services.key_vault.encryption.envelope import EnvelopeEncryption
from services.key_vault.encryption.kek_providers.protocol import KekProvider, KekUnavailable
from services.key_vault.handlers import Handlers, Rooms
from services.key_vault.keys.auth_failures import AuthFailures
from services.key_vault.keys.importer import ImportRules, KeyImporter
from services.key_vault.keys.reminders import Reminders
from services.key_vault.keys.retesting import KeySweeper, Retester
from services.key_vault.keys.service import KeyService
from services.key_vault.keys.spend_limits import SpendLimits
from services.key_vault.keys.store import SCHEMA, KeyStore, audit_sequence, event_outbox, outbox
from services.key_vault.keys.testing import KeyTesting
from services.key_vault.leases.service import LeaseService, ask_over_bus
from services.key_vault.maintenance.admin import VaultAdmin
from services.key_vault.maintenance.integrity_check import IntegrityCheck
from services.key_vault.maintenance.kek_rotator import KekRotator
from services.key_vault.maintenance.kek_scheduler import KekRotationScheduler
from services.key_vault.settings import VaultSettings

VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"
_POOL_SIZE = 13
"""Two relays and the watches over keys and KEKs hold one connection each; leases must not wait for those."""

Clock = Callable[[], datetime]


class Vault:
    """What one process of the vault holds open: the database, the relays, the view of tenants, the watch over the keys."""

    def __init__(self, service: Service, settings: VaultSettings, clock: Clock) -> None:
        self._bus = service.bus
        self._settings = settings
        self.engine = engine_for(settings, pool_size=_POOL_SIZE)
        self.enrolled = settings.enrolled_workers()
        self.store = KeyStore(self.engine, clock)
        self.tenants = KvView(service.bus, TENANTS_VIEW)
        self.keks: KekProvider = settings.keks()
        self.data_keys = DataKeys(self.store, self.keks, settings.deployment_id)
        self.encryption = EnvelopeEncryption(self.data_keys, settings.deployment_id, settings.fingerprint_key())
        self.verification = IntegrityCheck(self.store, self.keks, self.data_keys, self.encryption)
        self.rotation = KekRotator(self.store, self.keks, self.data_keys)
        self.delivery = LeaseService(
            self.store,
            self.encryption,
            settings.signing_key(),
            self.enrolled,
            clock,
            ask_over_bus(service.bus),
            lease_seconds=settings.lease_seconds,
        )
        self.checks = KeyTesting(self.delivery, clock)
        self.retester = Retester(self.store, self.encryption, self.checks, clock, random.random)
        self.notices = Reminders(self.store, settings.reminder_policy(), clock)
        self.watch = KeySweeper(self.store, self.retester, self.notices, clock)
        self.terms = KekRotationScheduler(self.store, self.keks, self.rotation, settings.kek_age_policy(), clock)
        self._relay: Relay | None = None
        self._events: EventRelay | None = None

    @property
    def state(self) -> RelayState:
        """What the relay to the view is doing."""
        return self._relay.state if self._relay else RelayState.WAITING

    def publishes(self) -> bool:
        """Whether changes reach the view and the streams."""
        return self._relay is not None and self._relay.synced and self._events is not None and self._events.synced

    def committed(self) -> None:
        """Something was committed: publish it at once."""
        if self._relay is not None and self._events is not None:
            self._relay.wake()
            self._events.wake()

    async def open(self) -> None:
        """Wait for the database, see that every record can be opened, then publish. Raises CannotStart."""
        await open_database(self.engine, SCHEMA, VERSIONS_DIR)
        try:
            await self.keks.refresh()
            await self.verification.at_start(start_anyway=self._settings.start_undecryptable)
        except KekUnavailable as error:
            raise CannotStart(f"whoever holds the KEKs does not answer: {error}") from None
        await self.tenants.start()
        writers = {PROVIDER_KEYS_VIEW.name: ViewWriter(self._bus.client, PROVIDER_KEYS_VIEW)}
        self._relay = Relay(self.engine, outbox, writers, self.store.view_contents)
        self._events = EventRelay(self.engine, event_outbox, audit_sequence, lambda: self._bus.jetstream)
        self._bus.on_reconnect(self._relay.recheck)
        self._relay.start()
        self._events.start()
        self.watch.start(self.committed)
        self.terms.start(self.committed)

    async def close(self) -> None:
        """Stop what runs and disconnect; what is not published is in the outboxes."""
        await self.watch.stop()
        await self.terms.stop()
        await self.rotation.stop()
        if self._relay is not None and self._events is not None:
            await self._relay.stop()
            await self._events.stop()
        await self.tenants.stop()
        await self.engine.dispose()


def create_app(settings: VaultSettings | None = None) -> Service:
    """A process of the key vault, with `settings` or those of the environment. Raises SettingsError."""
    settings = settings or load(VaultSettings)
    service = Service(Role.KEY_VAULT, settings)
    clock: Clock = partial(datetime.now, UTC)
    vault = Vault(service, settings, clock)
    rules = ImportRules(
        byok=settings.byok(),
        operator_urls=settings.provider_urls,
        private_networks=bool(settings.egress_allow),
        revert_after=settings.revert_after(),
    )
    opener = settings.intake_opener()
    management = KeyService(
        store=vault.store,
        encryption=vault.encryption,
        checks=vault.checks,
        retester=vault.retester,
        arrivals=KeyImporter(opener, vault.encryption.fingerprint, rules),
        tenant_of=vault.tenants.get,
        rules=rules,
        clock=clock,
        jitter=random.random,
    )
    stewardship = VaultAdmin(
        store=vault.store,
        encryption=vault.encryption,
        data_keys=vault.data_keys,
        rotation=vault.rotation,
        verification=vault.verification,
        terms=vault.terms,
    )
    told = {"base_urls": settings.provider_urls, "private_networks": rules.private_networks}
    rooms = Rooms(
        management=management,
        stewardship=stewardship,
        delivery=vault.delivery,
        refusals=AuthFailures(vault.store, clock),
        spending=SpendLimits(vault.store, vault.committed, clock),
        notices=vault.notices,
        intake_key=opener.intake_key.model_copy(update=told),
    )
    Handlers(rooms, vault.committed).register(service.bus)
    service.opens(vault.open, vault.close)
    service.needs_view(vault.tenants)
    service.needs("PostgreSQL, and the view of provider keys brought in line with it", vault.publishes)
    service.facts = lambda: {
        "relay": vault.state.value,
        "kek": vault.keks.describe().primary,
        "enrolled_workers": str(len(vault.enrolled)),
    }
    return service
