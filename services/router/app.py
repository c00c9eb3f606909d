"""Wires the router: the only file here that names concrete things."""

from datetime import UTC, datetime
from pathlib import Path

from keyferry.contracts.health import Health
from keyferry.contracts.key import KeyFacts
from keyferry.contracts.route import Endpoint, ListEndpoints, ListModels, RemoveEndpoint, SaveEndpoint
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from keyferry.contracts.topology import (
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    ENDPOINT_LIST,
    ENDPOINT_REMOVE,
    ENDPOINT_SAVE,
    ENDPOINTS_VIEW,
    HEALTH_VIEW,
    MODEL_LIST,
    PROVIDER_KEYS_VIEW,
    REQUEST_DECIDED,
    REQUEST_REROUTE,
    TENANTS_VIEW,
    Role,
)
from keyferry.runtime.database import engine_for, open_database
from keyferry.runtime.lifecycle import Service
from keyferry.runtime.outbox import Relay
from keyferry.runtime.prices import load_prices
from keyferry.runtime.publishing import PackedPublisher
from keyferry.runtime.settings import load
from keyferry.runtime.views import KvView, ViewWriter
from services.router.catalog.reading import read_catalog
from services.router.endpoints import EndpointIndex
from services.router.facts import Facts
from services.router.handlers import ChatDoor, ManagementDoors
from services.router.list_prices import ListPrices
from services.router.provider_keys import KeyIndex
from services.router.settings import RouterSettings
from services.router.store import OUTBOX, SCHEMA, VERSIONS_DIR, PostgresEndpointStore
from services.router.trials import TrialGate

_DECISION_LINGER_SECONDS = 0.02
_FLUSH_SECONDS = 5.0
_CATALOG_DIR = Path(__file__).parent / "catalog" / "models"


def create_app(settings: RouterSettings | None = None) -> Service:
    """The router as a service that is not started. Raises SettingsError, and InvalidCatalog."""
    settings = settings or load(RouterSettings)
    catalog = read_catalog({path.name: path.read_text(encoding="utf-8") for path in _CATALOG_DIR.glob("*.toml")})
    prices = load_prices(settings.price_file)
    list_prices = ListPrices(prices)
    list_prices.remember(catalog, datetime.now(UTC))
    service = Service(Role.ROUTER, settings)
    bus = service.bus
    tenants = KvView(bus, TENANTS_VIEW, Tenant)
    endpoints = KvView(bus, ENDPOINTS_VIEW, Endpoint)
    index = EndpointIndex()
    endpoints.on_change(lambda: index.rebuild(entry for _, entry in endpoints))
    keys = KvView(bus, PROVIDER_KEYS_VIEW, KeyFacts)
    key_index = KeyIndex()
    keys.on_change(lambda: key_index.rebuild(key for _, key in keys))
    engine = engine_for(settings)
    store = PostgresEndpointStore(engine)

    health = KvView(bus, HEALTH_VIEW, Health)
    trials = TrialGate()
    health.on_change(lambda: trials.forget_all_but({key for key, _ in health}))

    def facts_of(tenant: str) -> Facts:
        now = datetime.now(UTC)
        return Facts(
            tenants.get(tenant),
            index.of(tenant),
            now,
            health=lambda target: health.get(target.key),
            trial=lambda target: trials.take(target.key, now),
            catalog=catalog,
            own_keys=key_index.of(tenant),
            platform_keys=key_index.of(PLATFORM_TENANT),
            prices=lambda provider, model: list_prices.of(provider, model, now),
        )

    async def publish(subject: str, data: bytes, reply: str) -> None:
        await bus.client.publish(subject, data, reply=reply)

    decisions = PackedPublisher(
        lambda: bus.jetstream,
        REQUEST_DECIDED.at(router=bus.user),
        producer=bus.user,
        linger_seconds=_DECISION_LINGER_SECONDS,
        capacity=settings.decision_capacity,
    )
    chat = ChatDoor(
        router=bus.user, facts_of=facts_of, publish=publish, decisions=decisions, telemetry=service.telemetry
    )

    async def open_decisions() -> None:
        decisions.start()
        service.closes(decisions.stop)

    async def open_store() -> None:
        await open_database(engine, SCHEMA, VERSIONS_DIR)
        relay = Relay(
            engine, OUTBOX, {ENDPOINTS_VIEW.name: ViewWriter(bus.client, ENDPOINTS_VIEW)}, store.view_contents
        )
        store.committed = relay.wake
        bus.on_reconnect(relay.recheck)
        relay.start()
        service.closes(relay.stop)
        service.needs("the endpoints' way to the bus (PostgreSQL and NATS)", lambda: relay.synced)

    async def open_views() -> None:
        for view in (tenants, endpoints, keys, health):
            await view.start()
            service.closes(view.stop)
        for needed in (tenants, endpoints, keys):
            service.needs_view(needed)

    service.closes(engine.dispose)
    for step in (open_decisions, open_store, open_views):
        service.opens(step)
    service.drains(lambda: decisions.flush(_FLUSH_SECONDS))
    service.facts = lambda: {
        "tenants": str(len(tenants)),
        "endpoints": str(len(endpoints)),
        "provider_keys": str(len(keys)),
        "models": str(len(catalog)),
        "prices": prices.version,
        "targets_resting": str(len(health)),
        "decisions_dropped": str(decisions.dropped),
    }
    bus.lane(CHAT_REQUEST, chat.on_request)
    bus.lane(EMBEDDING_REQUEST, chat.on_embedding)
    bus.lane(REQUEST_REROUTE, chat.on_reroute)
    doors = ManagementDoors(store, facts_of)
    bus.respond(ENDPOINT_SAVE, SaveEndpoint, doors.save_endpoint)
    bus.respond(ENDPOINT_REMOVE, RemoveEndpoint, doors.remove_endpoint)
    bus.respond(ENDPOINT_LIST, ListEndpoints, doors.list_endpoints)
    bus.respond(MODEL_LIST, ListModels, doors.list_models)
    return service
