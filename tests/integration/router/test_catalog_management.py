"""Models, providers and prices over the bus: a change acts on every router without a restart, and is audited."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.catalog import CatalogModel
from keyferry.contracts.catalog_edits import ListCatalog, RemoveModel, RestoreModel, RetireModel, SaveCatalogModel
from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.preferences import GivenPreferences, SavePreferences
from keyferry.contracts.price_edits import ListPriceEntries, RemovePrice, SetPrice, TokenPrices
from keyferry.contracts.provider_edits import ListProviders, RestoreProvider, RetireProvider, SaveProvider
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.routing_management import (
    CATALOG_LIST,
    CATALOG_REMOVE,
    CATALOG_RESTORE,
    CATALOG_RETIRE,
    CATALOG_SAVE,
    PREFERENCES_SAVE,
    PRICE_LIST,
    PRICE_REMOVE,
    PRICE_SET,
    PROVIDER_LIST,
    PROVIDER_RESTORE,
    PROVIDER_RETIRE,
    PROVIDER_SAVE,
)
from keyferry.contracts.tenancy import Tenant, Tier
from keyferry.contracts.topology import AUDIT_RECORDED, Role
from keyferry.runtime.bus.requests import Refused
from tests.integration.permissions.watcher import watching
from tests.integration.router.processes import RouterServers, Routing
from tests.support.router.keys_and_prices import platform_key
from tests.support.waiting import eventually, eventually_async

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE)
PROVIDER = SaveProvider(name="example-ai", title="Example AI", base_url="https://llm.example/v1/", eu=True)
MODEL = CatalogModel.model_validate(
    {
        "id": "lab-1",
        "maker": "Example",
        "title": "Lab 1",
        "description": "A model of the lab.",
        "best_for": ["tests"],
        "class": "balanced",
        "capabilities": ["chat"],
        "tier": "starter",
        "offerings": [{"provider": "example-ai", "upstream": "lab-one"}],
    }
)
PRICE = SetPrice(
    provider="example-ai", model="lab-one", prices=TokenPrices(input=Decimal("0.25"), output=Decimal("1.5"))
)

_IN_A_ROW = 16
"""Requests that go alike before every router of two is believed to have taken part."""


async def _serves(routing: Routing, model: str, upstream: str) -> None:
    """Wait until requests for a model are attempted as `upstream`, by every router."""

    async def attempted() -> bool:
        runs = [(await routing.chat(model))[0] for _ in range(_IN_A_ROW)]
        return all(run is not None and run.model == upstream for run in runs)

    await eventually_async(f"{model} is served as {upstream}", attempted)


async def _refuses(routing: Routing, model: str, text: str) -> FailureClass:
    """Wait until requests for a model are refused with `text`, by every router, and return the class."""
    failures: list[Failure | None] = []

    async def refused() -> bool:
        failures[:] = [(await routing.chat(model))[1] for _ in range(_IN_A_ROW)]
        return all(failure is not None and text in failure.message for failure in failures)

    await eventually_async(f"{model} is refused: {text}", refused)
    assert failures[-1] is not None
    return failures[-1].failure_class


async def test_a_model_of_an_own_provider_is_added_priced_and_retired_on_every_router(servers: RouterServers) -> None:
    own = platform_key("example-ai", origin="https://llm.example", base_url="https://llm.example/v1")
    keys = [own, platform_key("openai", "key_o")]
    async with (
        servers.router([ACME], keys) as routing,
        servers.router([ACME], keys, listening=False),
        servers.bus.connected(Role.OPERATOR) as operator,
        watching(servers.bus) as watcher,
    ):
        with pytest.raises(Refused, match="there is no provider example-ai; known are openai"):
            await operator.ask(CATALOG_SAVE, SaveCatalogModel(model=MODEL), timeout_seconds=20)
        saved = await operator.ask(PROVIDER_SAVE, PROVIDER, timeout_seconds=20)
        assert (saved.base_url, saved.bundled) == ("https://llm.example/v1", False)
        added = await operator.ask(CATALOG_SAVE, SaveCatalogModel(model=MODEL), timeout_seconds=20)
        assert added.changed
        assert not added.bundled
        assert await _refuses(routing, "lab-1", "no list price") is FailureClass.POLICY
        priced = await operator.ask(PRICE_SET, PRICE, timeout_seconds=20)
        assert priced.warnings == []
        await _serves(routing, "lab-1", "lab-one")
        listed = (await routing.models())["lab-1"]
        assert listed.eu
        assert listed.prices is not None
        assert (listed.prices.input_usd, listed.prices.price_version) == (
            Decimal("0.25"),
            f"operator {priced.revision}",
        )
        preferred = SavePreferences(tenant="acme", preferences=GivenPreferences(default_model="lab-1"))
        await operator.ask(PREFERENCES_SAVE, preferred, timeout_seconds=20)
        await _serves(routing, "default", "lab-one")
        retire = RetireModel(id="lab-1", replacement="gpt-5", serve_replacement=True, actor="console:operator")
        retired = await operator.ask(CATALOG_RETIRE, retire, timeout_seconds=20)
        assert retired.warnings == ["the preferences of acme name it: default_model"]
        await _serves(routing, "lab-1", "gpt-5")
        assert routing.attempts[-1][0].replaces == "lab-1"
        await operator.ask(CATALOG_RETIRE, RetireModel(id="lab-1", replacement="gpt-5"), timeout_seconds=20)
        assert await _refuses(routing, "lab-1", "retired the model lab-1: use gpt-5") is FailureClass.NOT_FOUND
        restored = await operator.ask(CATALOG_RESTORE, RestoreModel(id="lab-1"), timeout_seconds=20)
        assert restored.retirement is None
        await _serves(routing, "lab-1", "lab-one")
        subject = AUDIT_RECORDED.format(service=Role.ROUTER.value)
        await eventually("all changes are audited", lambda: len(watcher.received[subject]) >= 7)
        events = [AuditEvent.decode(data) for data in watcher.received[subject]]
    assert [(event.action, event.actor, event.tenant, event.target) for event in events] == [
        ("provider.save", "operator", "platform", "example-ai"),
        ("model.save", "operator", "platform", "lab-1"),
        ("price.set", "operator", "platform", "example-ai/lab-one"),
        ("preferences.save", "operator", "acme", "tenant:acme"),
        ("model.retire", "console:operator", "platform", "lab-1"),
        ("model.retire", "operator", "platform", "lab-1"),
        ("model.restore", "operator", "platform", "lab-1"),
    ]
    assert events[2].details["prices.input"] == "not set → 0.25"


async def test_changes_are_listed_undone_and_outlive_a_restart(servers: RouterServers) -> None:
    keys = [platform_key("example-ai"), platform_key("mistral", "key_m")]
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    async with servers.router([ACME], keys) as routing, servers.bus.connected(Role.OPERATOR) as operator:
        await operator.ask(PROVIDER_SAVE, PROVIDER, timeout_seconds=20)
        await operator.ask(CATALOG_SAVE, SaveCatalogModel(model=MODEL), timeout_seconds=20)
        await operator.ask(PRICE_SET, PRICE, timeout_seconds=20)
        later = SetPrice(provider="example-ai", model="lab-one", base="lab-two", effective=tomorrow)
        with pytest.raises(Refused, match="no list price for lab-two"):
            await operator.ask(PRICE_SET, later, timeout_seconds=20)
        await operator.ask(PRICE_SET, PRICE.model_copy(update={"effective": tomorrow}), timeout_seconds=20)
        await operator.ask(
            PROVIDER_RETIRE, RetireProvider(name="mistral", reason="the contract ended"), timeout_seconds=20
        )
        assert await _refuses(routing, "mistral-small", "retired the provider Mistral: the contract ended")
    PROVIDERS.install((), {})
    async with servers.router([ACME], keys) as routing, servers.bus.connected(Role.OPERATOR) as operator:
        await _serves(routing, "lab-1", "lab-one")
        assert await _refuses(routing, "mistral-small", "the contract ended") is FailureClass.POLICY
        await operator.ask(PROVIDER_RESTORE, RestoreProvider(name="mistral"), timeout_seconds=20)
        await _serves(routing, "mistral-small", "mistral-small-latest")
        prices = (await operator.ask(PRICE_LIST, ListPriceEntries(provider="example-ai"), timeout_seconds=20)).prices
        assert [price.effective == tomorrow for price in prices] == [True, False]
        remove = RemovePrice(provider="example-ai", model="lab-one", effective=tomorrow)
        assert (await operator.ask(PRICE_REMOVE, remove, timeout_seconds=20)).revision == prices[0].revision
        with pytest.raises(Refused, match="there is no price of that provider, model and moment"):
            await operator.ask(PRICE_REMOVE, remove, timeout_seconds=20)
        states = (await operator.ask(CATALOG_LIST, ListCatalog(), timeout_seconds=20)).models
        assert next(state for state in states if state.model.id == "lab-1").changed
        providers = (await operator.ask(PROVIDER_LIST, ListProviders(), timeout_seconds=20)).providers
        assert [one.name for one in providers if not one.bundled] == ["example-ai"]
        await operator.ask(CATALOG_REMOVE, RemoveModel(id="lab-1"), timeout_seconds=20)
        assert await _refuses(routing, "lab-1", "not offered to this tenant") is FailureClass.NOT_FOUND
