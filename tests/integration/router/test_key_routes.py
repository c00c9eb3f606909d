"""Requests over provider keys on a real bus: from the vault's view to the attempt for a worker."""

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import KeyStatus
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.topology import (
    CHAT_REQUEST,
    EMBEDDING_REQUEST,
    PROVIDER_KEYS_VIEW,
    REQUEST_REROUTE,
    TENANTS_VIEW,
)
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.runtime.process.settings import SettingsError
from tests.integration.router.processes import TIMEOUT_SECONDS, RouterServers, Routing
from tests.support.router.keys_and_prices import key_facts, platform_key

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.PROFESSIONAL, drop_unsupported=True)
OWN = key_facts("openrouter", "key_own", fields={"site_name": "Acme"})
SECOND = key_facts("openrouter", "key_two", priority=200)
FOREIGN = key_facts("openai", "key_foreign", tenant="other")
PLATFORM = platform_key("openai", "key_plat")


async def test_an_own_key_pays_and_its_failure_leads_to_the_next(servers: RouterServers) -> None:
    async with servers.router([ACME], [OWN, SECOND, FOREIGN, PLATFORM]) as routing:
        await routing.wait_for_models("gpt-4o-mini")
        run, _ = await routing.chat("gpt-4o-mini")
        assert run is not None
        assert (run.provider, run.model, run.key_id, run.key_owner) == (
            "openrouter", "openai/gpt-4o-mini", "key_own", "acme"
        )  # fmt: skip
        assert (run.base_url, run.key_fields, run.drop_unsupported) == (OWN.base_url, {"site_name": "Acme"}, True)
        assert (run.key_source, run.remaining_candidates) == (KeySource.BYOK, 1)
        refused_key = Failure(failure_class=FailureClass.AUTH, message="no")
        again, _ = await routing.hand_back(run, refused_key)
        assert again is not None
        assert (again.key_id, again.attempt_number) == ("key_two", 2)
        end, failure = await routing.hand_back(again, refused_key)
        assert end is None
        assert failure == refused_key


async def test_after_the_key_is_removed_the_policy_decides(servers: RouterServers) -> None:
    async with servers.router([ACME], [OWN, PLATFORM]) as routing:
        await routing.wait_for_models("gpt-4o-mini")
        await servers.fill(PROVIDER_KEYS_VIEW, {"acme.key_own": OWN.model_copy(update={"status": KeyStatus.INVALID}),
                                                     "platform.key_plat": PLATFORM})  # fmt: skip
        refusal = await _until_refused(routing.chat, "gpt-4o-mini")
        assert refusal.failure_class is FailureClass.POLICY
        assert "is invalid" in refusal.message
        await servers.fill(PROVIDER_KEYS_VIEW, {"platform.key_plat": PLATFORM})
        found = await routing.wait_for_models("gpt-4o-mini")
        assert found["gpt-4o-mini"].key_source is KeySource.PLATFORM
        run, _ = await routing.chat("gpt-4o-mini")
        assert run is not None
        assert (run.key_id, run.key_owner, run.key_source) == ("key_plat", "platform", KeySource.PLATFORM)
        only, failure = await routing.chat("gpt-4o-mini", prefer_own_keys="only")
        assert only is None
        assert failure is not None
        assert "X-Prefer-BYOK" in failure.message
        await servers.fill(TENANTS_VIEW, {"acme": ACME.model_copy(update={"key_policy": KeyPolicy.OWN})})
        own_only = await _until_refused(routing.chat, "gpt-4o-mini")
        assert "keyferry keys add --provider openai" in own_only.message


async def test_embedding_and_chat_requests_need_models_of_their_kind(servers: RouterServers) -> None:
    async with servers.router([ACME], [PLATFORM]) as routing:
        found = await routing.wait_for_models("text-embedding-3-small")
        assert found["text-embedding-3-small"].dimensions == 1536
        assert "claude-haiku-4-5" not in found
        run, _ = await routing.embed("text-embedding-3-small")
        assert run is not None
        assert (run.kind, run.key_id) == (RequestKind.EMBEDDING, "key_plat")
        _, failure = await routing.embed("gpt-4o-mini")
        assert failure is not None
        assert (failure.failure_class, failure.param) == (FailureClass.BAD_REQUEST, "model")


async def test_unapproved_models_need_the_tenants_permission(servers: RouterServers) -> None:
    tuned = OWN.model_copy(update={"models": ["some/new-model"]})
    async with servers.router([ACME], [tuned]) as routing:
        await routing.wait_for_models("gpt-4o-mini")
        shown = (await routing.models(unapproved=True))["openrouter/some/new-model"]
        assert (shown.approved, shown.available) == (False, False)
        _, failure = await routing.chat("openrouter/some/new-model")
        assert failure is not None
        assert failure.failure_class is FailureClass.POLICY
        assert "keyferry tenants set acme --allow-unapproved" in failure.message
        await servers.fill(TENANTS_VIEW, {"acme": ACME.model_copy(update={"allow_unapproved": True})})
        await _until_available(routing, "openrouter/some/new-model")
        run, _ = await routing.chat("openrouter/some/new-model")
        assert run is not None
        assert (run.model, run.key_id) == ("some/new-model", "key_own")


async def test_the_operators_price_file_decides_what_the_platform_pays_for(
    servers: RouterServers, tmp_path: Path
) -> None:
    enterprise = ACME.model_copy(update={"tier": Tier.ENTERPRISE})
    azure = platform_key("azure", "key_az")
    async with servers.router([enterprise], [azure]) as routing:
        _, failure = await routing.chat("azure/gpt-4o")
        assert failure is not None
        assert "`keyferry prices set`" in failure.message
    price_file = tmp_path / "prices.toml"
    price_file.write_text(
        'version = "ours"\neffective = 2026-01-01\n'
        '[[price]]\nprovider = "azure"\nmodel = "gpt-4o"\ninput = 2.75\noutput = 11\n'
    )
    async with servers.router([enterprise], [azure], price_file=price_file) as routing:
        prices = (await routing.wait_for_models("gpt-4o"))["gpt-4o"].prices
        assert prices is not None
        assert (prices.input_usd, prices.output_usd, prices.price_version) == (Decimal("2.75"), Decimal(11), "ours")
        run, _ = await routing.chat("azure/gpt-4o")
        assert run is not None
        assert (run.key_id, run.model) == ("key_az", "gpt-4o")


async def test_a_request_that_names_another_tenant_than_its_subject_runs_no_attempt(
    servers: RouterServers, caplog: pytest.LogCaptureFixture
) -> None:
    """The server checks who publishes on a tenant's subject; so a head must not name another tenant, who would pay."""
    async with servers.router([ACME, ACME.model_copy(update={"tenant": "other"})], [OWN, FOREIGN]) as routing:
        await routing.wait_for_models("gpt-4o-mini")
        run, _ = await routing.chat("gpt-4o-mini")
        assert run is not None
        failure = Failure(failure_class=FailureClass.AUTH, message="no")
        caplog.clear()
        await routing.send_foreign(run, failure, subject_tenant="other")
        again, _ = await routing.chat("gpt-4o-mini")  # of one connection's messages the later is decided later
        assert again is not None
        assert [attempt.request_id for attempt, _ in routing.attempts] == [run.request_id, again.request_id]
        assert routing.refusals == []
    dropped = [record for record in caplog.records if "names another tenant or owner" in record.message]
    assert sorted(record.__dict__["subject"] for record in dropped) == [
        CHAT_REQUEST.format(tenant="other"),
        EMBEDDING_REQUEST.format(tenant="other"),
        REQUEST_REROUTE.format(tenant="other"),
    ]


async def test_a_router_does_not_start_with_an_invalid_price_file(servers: RouterServers, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml.*KEYFERRY_PRICE_FILE"):
        async with servers.router([ACME], [], price_file=tmp_path / "missing.toml"):
            raise AssertionError("the router has started")


async def _until_available(routing: Routing, model: str) -> None:
    """Return once a model outside the catalog may be called."""
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            found = await routing.models(unapproved=True)
            if model in found and found[model].available:
                return
            await asyncio.sleep(0.02)


async def _until_refused(chat: "object", model: str) -> Failure:
    """Return the refusal, once the change of the view has taken effect."""
    assert callable(chat)
    async with asyncio.timeout(TIMEOUT_SECONDS):
        while True:
            _, failure = await chat(model)
            if failure is not None:
                assert isinstance(failure, Failure)
                return failure


async def test_a_request_that_cannot_be_recorded_is_refused_over_the_bus(servers: RouterServers) -> None:
    async with servers.router([ACME], [PLATFORM]) as routing:
        await routing.wait_for_models("gpt-4o-mini")
        await routing.chat("gpt-4o-mini")
        failure = await routing.chat_unchecked("up/raw\x00x")
        assert (failure.failure_class, failure.param) == (FailureClass.BAD_REQUEST, "model")
        assert len(routing.attempts) == 1
