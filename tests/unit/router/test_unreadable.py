"""A limit that cannot be read refuses its tenant's requests; it never lets more pass than somebody decided."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from keyferry.contracts.catalog_edits import CatalogEntry, Retirement
from keyferry.contracts.channels import Bucket
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.failure import FailureClass
from keyferry.contracts.features import VIRTUAL_MODELS
from keyferry.contracts.provider_edits import ProviderEntry, install_providers
from keyferry.contracts.providers import PROVIDERS, ProviderDirectory
from keyferry.contracts.route import DropReason, ListModels
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime import views
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.providers import follow_providers
from keyferry.runtime.tiers import load_tiers
from keyferry.runtime.views import COMPLETE, KvView
from keyferry.tiers.byok import ByokSwitch
from keyferry.tiers.file import BUNDLED_TIERS
from services.router.catalog.managed import ManagedCatalog
from services.router.catalog.overlay import compose
from services.router.catalog.store import model_key
from services.router.decide import FreshIds, decide
from services.router.planning.available_models import available_models
from services.router.planning.context import RouteRequest
from services.router.planning.plan import plan
from services.router.routing_data import RoutingData
from services.router.settings import RouterSettings
from services.router.unreadable import UnreadableLimits, require_tenant
from tests.support.router.keys_and_prices import catalog
from tests.unit.router.preferences.test_attempts import REQUEST
from tests.unit.router.preferences.test_plan import ANTHROPIC, NOW, OPENAI, context_of, endpoint

REASON = "nothing was sent, because the gateway cannot read what limits the requests of acme"


def view(name: str, *owners: str) -> KvView[Any]:
    bucket = SimpleNamespace(name=name)
    return cast(KvView[Any], SimpleNamespace(bucket=bucket, unreadable_owners=frozenset(owners)))


def limits(keys: KvView[Any], preferences: KvView[Any]) -> UnreadableLimits:
    return UnreadableLimits((keys, preferences), (preferences,))


def test_an_unreadable_entry_concerns_its_tenant_and_one_of_the_platform_concerns_all() -> None:
    assert limits(view("keys"), view("preferences")).of("acme") is None
    of_acme = limits(view("keys"), view("preferences", "acme"))
    assert of_acme.of("other") is None
    assert (of_acme.of("acme") or "").startswith(REASON)
    assert "its view preferences about acme is damaged" in (of_acme.of("acme") or "")
    of_all = limits(view("keys"), view("preferences", "platform"))
    assert "about the whole installation is damaged" in (of_all.of("other") or "")
    platform_key = limits(view("keys", "platform"), view("preferences"))
    assert platform_key.of("acme") is None, "a key that is missing widens nothing for those whom it does not belong to"
    assert limits(view("keys", "acme"), view("preferences")).of("acme") is not None, "the platform would pay instead"


@pytest.mark.parametrize(
    ("damaged", "owner", "refused"),
    [
        ("tenants", "acme", {"acme"}),
        ("endpoints", "acme", {"acme"}),
        ("keys", "acme", {"acme"}),
        ("keys", "platform", {"platform"}),
        ("preferences", "acme", {"acme"}),
        ("preferences", "platform", {"acme", "other", "platform"}),
        ("rules", "acme", {"acme"}),
        ("rules", "platform", {"acme", "other", "platform"}),
    ],
)
def test_a_router_asks_every_view_that_limits_requests(damaged: str, owner: str, refused: set[str]) -> None:
    bus = cast(Bus, SimpleNamespace(alerts=[], on_reconnect=lambda _: None))
    settings = SimpleNamespace(
        price_file=BUNDLED_PRICES, max_retries=3, longest_wait_seconds=30.0, byok=lambda: ByokSwitch()
    )
    data = RoutingData(bus, cast(RouterSettings, settings), load_tiers(BUNDLED_TIERS))
    assert {name for name in ("acme", "other", "platform") if data.of(name).unreadable} == set()
    getattr(data, damaged).unreadable_owners = frozenset({owner})
    assert {name for name in ("acme", "other", "platform") if data.of(name).unreadable} == refused


@pytest.mark.parametrize("model", ["gpt-4o", "llama", "echo", "nothing", *sorted(VIRTUAL_MODELS)])
def test_whatever_a_request_asks_for_it_is_refused_with_the_reason_and_a_record(model: str) -> None:
    context = replace(context_of(OPENAI, ANTHROPIC, endpoint()), unreadable=REASON)
    decision = decide(ChatRequest(**REQUEST, model=model), context, FreshIds("dec_1", "att_1"), traceparent=None)
    assert decision.run is None
    assert decision.refused is not None
    assert decision.refused.failure.failure_class is FailureClass.UNAVAILABLE
    assert decision.refused.failure.message == REASON
    assert available_models(context, ListModels(tenant="acme", unavailable=True)) == []


def test_settings_of_a_tenant_are_managed_while_its_limits_cannot_be_read_but_not_while_it_cannot() -> None:
    known = replace(context_of(), unreadable=REASON)
    require_tenant("acme", known)
    with pytest.raises(Refused, match="cannot read what limits the requests of acme; try again when it is repaired"):
        require_tenant("acme", replace(known, tenant=None))
    with pytest.raises(Refused, match="there is no tenant acme; add it with"):
        require_tenant("acme", replace(context_of(), tenant=None))


def test_a_model_whose_change_cannot_be_read_is_not_called_under_any_name() -> None:
    bundled = list(catalog())
    context = context_of(OPENAI, ANTHROPIC)
    withheld = replace(context, catalog=compose(bundled, [], PROVIDERS, {"gpt-4o"}).catalog)
    for name in ("gpt-4o", "openai/gpt-4o", "gpt-4o-2024-08-06"):
        assert plan(RouteRequest("acme", name), context).order, name
        refused = plan(RouteRequest("acme", name), withheld)
        assert refused.order == [], name
        assert refused.refusal is not None
    named = plan(RouteRequest("acme", "gpt-4o"), withheld)
    assert {each.reason for each in named.candidates if each.provider == "openai"} == {DropReason.UNREADABLE}
    assert named.refusal is not None
    assert named.refusal.failure_class is FailureClass.UNAVAILABLE
    assert "cannot read what the operator has changed about gpt-4o" in named.refusal.message
    assert plan(RouteRequest("acme", "gpt-4o-mini"), withheld).order, "the others are called as before"


async def test_the_live_catalog_withholds_what_its_views_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the views to plans: a damaged entry of a model, and one of a provider."""
    contents: dict[str, dict[str, bytes]] = {
        "catalog": {COMPLETE: b"{}", model_key("gpt-4o"): b"{"},
        "providers": {COMPLETE: b"{}", "anthropic": b"{"},
        "prices": {COMPLETE: b"{}"},
    }

    async def snapshot(client: object, bucket: Bucket[Any]) -> tuple[dict[str, bytes], int]:
        return dict(contents[bucket.name]), 1

    async def subscribe(subject: str, cb: object) -> None:
        pass

    monkeypatch.setattr(views, "snapshot", snapshot)
    client = SimpleNamespace(subscribe=subscribe)
    bus = cast(Bus, SimpleNamespace(client=client, connected=True, alerts=[], on_reconnect=lambda _: None))
    managed = ManagedCatalog(bus, list(catalog()), load_prices(BUNDLED_PRICES))
    followed = (managed.models, managed.providers, managed.entries)
    try:
        for each in followed:
            await each.start()
        for _ in range(5):
            await asyncio.sleep(0)
        assert all(each.ready for each in followed)
        context = replace(context_of(OPENAI, ANTHROPIC), catalog=managed.catalog)
        for name in ("gpt-4o", "claude-haiku-4-5"):
            assert plan(RouteRequest("acme", name), context).order == [], name
        assert plan(RouteRequest("acme", "gpt-4o-mini"), context).order
    finally:
        for each in followed:
            await each.stop()
        install_providers(PROVIDERS, ())


async def test_services_that_follow_providers_do_not_use_one_whose_entry_cannot_be_read() -> None:
    opened: list[object] = []
    bus = SimpleNamespace(alerts=[], on_reconnect=lambda _: None)
    follow_providers(cast(Service, SimpleNamespace(bus=bus, opens=lambda *hooks: opened.extend(hooks))))
    followed = cast(Any, opened[0]).__self__
    try:
        followed.unreadable["openai"] = "damaged"
        for listener in followed._listeners:
            listener()
        assert PROVIDERS.retirement("openai") is not None
    finally:
        install_providers(PROVIDERS, ())


def test_a_withheld_model_may_be_the_catalogs_default() -> None:
    entry = CatalogEntry(id="gpt-4o", retirement=Retirement(), revision=1, changed_at=NOW, changed_by="operator")
    composition = compose(list(catalog()), [entry], PROVIDERS, {"claude-sonnet-4-5"})
    assert composition.problems == {}
    context = replace(context_of(OPENAI, ANTHROPIC), catalog=composition.catalog)
    made = plan(RouteRequest("acme", "default"), context)
    assert made.order, "another model of the catalog is its default meanwhile"
    assert made.models[0].model != "claude-sonnet-4-5"


def test_a_provider_whose_entry_cannot_be_read_is_not_used() -> None:
    directory = ProviderDirectory(PROVIDERS.bundled.values())
    retired = ProviderEntry(name="groq", retired=True, revision=1, changed_at=NOW, changed_by="operator")
    install_providers(directory, [retired], ["openai"])
    assert directory.retirement("groq") is not None
    assert "cannot be read" in (directory.retirement("openai") or "")
    assert directory.retirement("anthropic") is None
