"""Assembles the tenant directory."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from keyferry.contracts.erasure import ErasedTenant, EraseTenant
from keyferry.contracts.erasure_management import ERASERS
from keyferry.contracts.internal_services import INTERNAL_SERVICES_VIEW
from keyferry.contracts.membership_management import MEMBERS_VIEW
from keyferry.contracts.sign_in_management import SESSIONS_VIEW
from keyferry.contracts.topology import CLIENT_TOKENS_VIEW, TENANTS_VIEW, Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.database.engine import engine_for, open_database
from keyferry.runtime.database.erasure import TenantEraser
from keyferry.runtime.database.event_outbox import EventRelay
from keyferry.runtime.database.leader import RelayState
from keyferry.runtime.database.outbox import Relay
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from keyferry.runtime.tiers import load_tiers
from keyferry.runtime.views import ViewWriter
from services.tenant_directory.access_handlers import AccessHandlers
from services.tenant_directory.client_token_handlers import ClientTokenHandlers
from services.tenant_directory.client_token_store import ClientTokenStore
from services.tenant_directory.deletion.handlers import DeletionHandlers
from services.tenant_directory.deletion.job import DeletionJob, Erase
from services.tenant_directory.deletion.store import DeletionStore
from services.tenant_directory.handlers import Handlers
from services.tenant_directory.internal_service_handlers import InternalServiceHandlers
from services.tenant_directory.internal_service_store import InternalServiceStore
from services.tenant_directory.invitation_store import InvitationStore
from services.tenant_directory.member_handlers import MemberHandlers
from services.tenant_directory.member_store import MemberStore
from services.tenant_directory.reference_handlers import ReferenceHandlers
from services.tenant_directory.reference_store import ReferenceStore
from services.tenant_directory.session_handlers import SessionHandlers
from services.tenant_directory.session_store import SessionStore, end_sessions_of, session_entries
from services.tenant_directory.settings import DirectorySettings
from services.tenant_directory.store import DirectoryStore
from services.tenant_directory.tables import SCHEMA, audit_sequence, event_outbox, outbox
from services.tenant_directory.team_store import TeamStore
from services.tenant_directory.tenant_data import TENANT_TABLES

VERSIONS_DIR = Path(__file__).parent / "migrations" / "versions"
_ERASE_SECONDS = 60.0
"""A service removes rows for some seconds, and answers with what is left."""
VIEWS = (TENANTS_VIEW, CLIENT_TOKENS_VIEW, INTERNAL_SERVICES_VIEW, MEMBERS_VIEW, SESSIONS_VIEW)


class DirectoryDatabase:
    """The database of one process and the relay to the views."""

    def __init__(self, service: Service, settings: DirectorySettings) -> None:
        self._bus = service.bus
        self.engine = engine_for(settings)
        self.store = DirectoryStore(self.engine)
        self.tokens = ClientTokenStore(self.engine, partial(datetime.now, UTC))
        self.internal_services = InternalServiceStore(self.engine)
        self.members = MemberStore(self.engine, end_sessions_of)
        self.invitations = InvitationStore(self.engine)
        self.teams = TeamStore(self.engine)
        erasers: dict[str, Erase] = {
            Role.TENANT_DIRECTORY.value: TenantEraser(self.engine, SCHEMA, TENANT_TABLES, outbox).erase
        }
        erasers |= {role.value: _ask_over_bus(service.bus, role) for role in ERASERS}
        self.deletions = DeletionStore(self.engine, list(erasers))
        self.deletion_job = DeletionJob(self.deletions, erasers, partial(datetime.now, UTC))
        self.sessions = SessionStore(self.engine)
        self._relay: Relay | None = None
        self._events: EventRelay | None = None

    @property
    def state(self) -> RelayState:
        """The state of the relay."""
        return self._relay.state if self._relay else RelayState.WAITING

    def is_publishing(self) -> bool:
        """Return whether changes reach the views and the audit."""
        return self._relay is not None and self._relay.synced and self._events is not None and self._events.synced

    def wake_relay(self) -> None:
        """Publish a committed change at once."""
        if self._relay is not None and self._events is not None:
            self._relay.wake()
            self._events.wake()

    async def open(self) -> None:
        """Wait for the database, then start to publish. Raises SchemaMismatch."""
        await open_database(self.engine, SCHEMA, VERSIONS_DIR)
        writers = {bucket.name: ViewWriter(self._bus.client, bucket) for bucket in VIEWS}
        self._relay = Relay(self.engine, outbox, writers, self._view_contents)
        self._events = EventRelay(self.engine, event_outbox, audit_sequence, lambda: self._bus.jetstream)
        self._bus.on_reconnect(self._relay.recheck)
        self._relay.start()
        self._events.start()
        self.deletion_job.start(self.wake_relay)

    def deletion_requested(self) -> None:
        """Publish that a tenant is suspended, and begin to delete it."""
        self.wake_relay()
        self.deletion_job.wake()

    async def _view_contents(self) -> Mapping[str, Mapping[str, bytes]]:
        """Return the entries of each view by bucket name and key. Raises SQLAlchemyError, which the relay expects."""
        async with self.engine.connect() as connection:
            sessions = await session_entries(connection)
        return {
            **await self.store.view_contents(),
            **await self.internal_services.view_contents(),
            SESSIONS_VIEW.name: sessions,
        }

    async def close(self) -> None:
        """Stop publishing and disconnect; unpublished changes stay in the outbox."""
        await self.deletion_job.stop()
        if self._relay is not None and self._events is not None:
            await self._relay.stop()
            await self._events.stop()
        await self.engine.dispose()


def _ask_over_bus(bus: Bus, role: Role) -> Erase:
    async def erase(command: EraseTenant) -> ErasedTenant:
        return await bus.ask(ERASERS[role], command, timeout_seconds=_ERASE_SECONDS)

    return erase


def create_app(settings: DirectorySettings | None = None) -> Service:
    """Assemble a tenant directory from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(DirectorySettings)
    service = Service(Role.TENANT_DIRECTORY, settings)
    directory = DirectoryDatabase(service, settings)
    tiers = load_tiers(settings.tier_file).table
    Handlers(directory.store, tiers, directory.wake_relay).register(service.bus)
    ClientTokenHandlers(directory.tokens, settings.token_pepper(), directory.wake_relay).register(service.bus)
    InternalServiceHandlers(
        service.bus, directory.internal_services, directory.wake_relay, partial(datetime.now, UTC)
    ).register()
    MemberHandlers(
        directory.members,
        directory.invitations,
        directory.teams,
        directory.wake_relay,
        partial(datetime.now, UTC),
    ).register(service.bus)
    DeletionHandlers(directory.deletions, directory.deletion_requested, partial(datetime.now, UTC)).register(
        service.bus
    )
    SessionHandlers(directory.sessions, directory.wake_relay, partial(datetime.now, UTC)).register(service.bus)
    ReferenceHandlers(ReferenceStore(directory.engine), partial(datetime.now, UTC)).register(service.bus)
    AccessHandlers(directory.engine, directory.wake_relay, partial(datetime.now, UTC)).register(service.bus)
    service.opens(directory.open, directory.close)
    service.needs("PostgreSQL, and the reconciled views", directory.is_publishing)
    service.facts = lambda: {"relay": directory.state.value}
    return service
