"""Management commands over a real bus: requests, output and errors."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partialmethod
from pathlib import Path

import pytest

from keyferry.cli.connection import OperatorConnection
from keyferry.contracts import client_token
from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.route import ListModels, Model, ModelPrices, Models
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import (
    ByokUse,
    ClientToken,
    CreateClientToken,
    CreateTenant,
    KeyPolicy,
    Tenant,
    Tier,
    UpdateTenant,
)
from keyferry.contracts.topology import MODEL_LIST, TENANT_CREATE, TENANT_UPDATE, TOKEN_CREATE, Role
from keyferry.contracts.usage import KeySource
from keyferry.runtime.bus.requests import Refused
from tests.integration.cli.answering import owner
from tests.integration.cli.command import keyferry, keyferry_process, operator_environment
from tests.support.servers.provisioned_bus import ProvisionedBus


async def test_tenant_is_created(bus: ProvisionedBus, tmp_path: Path) -> None:
    received: list[CreateTenant] = []

    async def create(command: CreateTenant) -> Tenant:
        received.append(command)
        return Tenant(tenant=command.tenant, name=command.name, tier=command.tier)

    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_CREATE, create):
        arguments = ("tenants", "create", "acme", "--name", "Acme Ltd", "--tier", "starter")
        ran = await keyferry(*arguments, environment=operator_environment(bus), cwd=tmp_path)
        as_data = await keyferry(*arguments, "--json", environment=operator_environment(bus), cwd=tmp_path)
    first, limits = ran.out.splitlines()
    assert (ran.status, first) == (0, "created acme: Acme Ltd, tier starter, active")
    assert limits == "limits: default; `keyferry tiers` shows what the tier includes"
    assert received[0] == CreateTenant(tenant="acme", name="Acme Ltd", tier=Tier.STARTER)
    assert json.loads(as_data.out) == {
        "tenant": "acme",
        "name": "Acme Ltd",
        "tier": "starter",
        "suspended": False,
        "key_policy": None,
        "drop_unsupported": False,
        "allow_unapproved": False,
        "limits": None,
        "byok": "default",
        "content": "off",
        "content_days": 30,
        "time_zone": "UTC",
        "deleted_at": None,
        "tier_set_by": None,
    }


async def test_key_policy_is_set_and_other_settings_stay(bus: ProvisionedBus, tmp_path: Path) -> None:
    received: list[UpdateTenant] = []

    async def update(command: UpdateTenant) -> Tenant:
        received.append(command)
        return Tenant(
            tenant=command.tenant,
            name="Acme",
            tier=Tier.STARTER,
            key_policy=command.key_policy,
            drop_unsupported=bool(command.drop_unsupported),
            allow_unapproved=bool(command.allow_unapproved),
            byok=command.byok or ByokUse.DEFAULT,
        )

    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_UPDATE, update):
        both = ("tenants", "set", "acme", "--keys", "own-then-platform", "--drop-unsupported")
        ran = await keyferry(*both, environment=operator_environment(bus), cwd=tmp_path)
        refusing = ("tenants", "set", "acme", "--no-drop-unsupported")
        other = await keyferry(*refusing, environment=operator_environment(bus), cwd=tmp_path)
        allowing = ("tenants", "set", "acme", "--allow-unapproved")
        allowed = await keyferry(*allowing, environment=operator_environment(bus), cwd=tmp_path)
        narrowing = ("tenants", "set", "acme", "--only-approved")
        narrowed = await keyferry(*narrowing, environment=operator_environment(bus), cwd=tmp_path)
        off = ("tenants", "set", "acme", "--byok", "off")
        switched = await keyferry(*off, environment=operator_environment(bus), cwd=tmp_path)
        nothing = await keyferry("tenants", "set", "acme", environment=operator_environment(bus), cwd=tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert "requests use its own keys, then the platform's" in ran.out
    assert "dropped and reported" in ran.out
    assert "are refused" in other.out
    assert "any model that its own keys list" in allowed.out
    assert "only approved models may be called" in narrowed.out
    assert received == [
        UpdateTenant(tenant="acme", key_policy=KeyPolicy.OWN_THEN_PLATFORM, drop_unsupported=True),
        UpdateTenant(tenant="acme", drop_unsupported=False),
        UpdateTenant(tenant="acme", allow_unapproved=True),
        UpdateTenant(tenant="acme", allow_unapproved=False),
        UpdateTenant(tenant="acme", byok=ByokUse.OFF),
    ]
    assert "its own keys are paused, and none can be added" in switched.out
    assert nothing.status == 1
    assert "nothing to set" in nothing.err


async def test_model_filters_are_sent_and_models_are_shown(bus: ProvisionedBus, tmp_path: Path) -> None:
    received: list[ListModels] = []
    found = [
        Model(
            id="claude-haiku-4-5",
            provider="anthropic",
            key_source=KeySource.BYOK,
            providers=["anthropic", "bedrock"],
            key_sources=[KeySource.BYOK, KeySource.PLATFORM],
            eu=True,
            model_class=ModelClass.BUDGET,
            context_tokens=200_000,
            tier=Tier.STARTER,
            prices=ModelPrices(
                input_usd=Decimal(1), output_usd=Decimal(5), cached_read_usd=Decimal("0.10"), price_version="v7"
            ),
        ),
        Model(id="openai/ft:mine", provider="openai", key_source=KeySource.BYOK, approved=False, available=False),
    ]

    async def models(query: ListModels) -> Models:
        received.append(query)
        return Models(models=found)

    async with owner(bus, Role.ROUTER, MODEL_LIST, models):
        filters = ("--eu", "--provider", "bedrock", "--class", "budget", "--capability", "vision", "--unapproved")
        ran = await keyferry(
            "models", *filters, "--sort", "context", environment=operator_environment(bus), cwd=tmp_path
        )
        plain = await keyferry("models", "--json", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.err == ""
    heads, first, second, _, legend = ran.out.splitlines()
    assert heads.split() == ["MODEL", "FROM", "KEY", "CLASS", "CONTEXT", "TIER", "IN", "OUT", "CACHED", "NOTES"]
    assert first.split()[-4:] == ["1", "5", "0.1", "eu"]
    assert "per million tokens" in legend
    assert "v7" in legend
    assert first.split("  ")[0] == "claude-haiku-4-5"
    assert "anthropic, bedrock" in first
    assert "byok, platform" in first
    assert "200,000" in first
    assert first.endswith("eu")
    assert second.split()[-7:] == ["-", "-", "-", "not", "allowed,", "not", "approved"]
    assert received == [
        ListModels(
            tenant="demo",
            eu=True,
            provider="bedrock",
            model_class=ModelClass.BUDGET,
            capability=Capability.VISION,
            unapproved=True,
            sort=ModelSort.CONTEXT,
        ),
        ListModels(tenant="demo"),
    ]
    assert Models.model_validate_json(plain.out).models == found


async def test_refusal_is_one_line(bus: ProvisionedBus, tmp_path: Path) -> None:
    async def create(command: CreateTenant) -> Tenant:
        raise Refused(ErrorCode.CONFLICT, f"there is a tenant {command.tenant} already")

    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_CREATE, create):
        ran = await keyferry("tenants", "create", "acme", environment=operator_environment(bus), cwd=tmp_path)
    assert (ran.status, ran.out, ran.err) == (1, "", "keyferry: there is a tenant acme already\n")


async def test_unavailable_service_is_named(bus: ProvisionedBus, tmp_path: Path) -> None:
    ran = await keyferry("tenants", "list", environment=operator_environment(bus), cwd=tmp_path)
    assert ran.status == 1
    assert "nobody answers tenant.list: is tenant-directory running?" in ran.err


async def test_token_is_shown_once_and_only_its_digest_is_sent(bus: ProvisionedBus, tmp_path: Path) -> None:
    sent: list[CreateClientToken] = []
    async with owner(bus, Role.TENANT_DIRECTORY, TOKEN_CREATE, _registering(sent)):
        ran = await keyferry("tokens", "create", "--label", "app", environment=operator_environment(bus), cwd=tmp_path)
        kept = await keyferry(
            "tokens", "create", "--output", "token", environment=operator_environment(bus), cwd=tmp_path
        )
    token = ran.out.strip()
    assert client_token.is_well_formed(token)
    assert sent[0].digest == client_token.digest(token)
    assert "not shown again" in ran.err
    assert token not in ran.err
    file = tmp_path / "token"
    assert kept.out == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert client_token.digest(file.read_text().strip()) == sent[1].digest


async def test_refused_token_leaves_no_file(bus: ProvisionedBus, tmp_path: Path) -> None:
    async def refuse(_: CreateClientToken) -> ClientToken:
        raise Refused(ErrorCode.NOT_FOUND, "there is no tenant demo")

    async with owner(bus, Role.TENANT_DIRECTORY, TOKEN_CREATE, refuse):
        ran = await keyferry(
            "tokens", "create", "--output", "token", environment=operator_environment(bus), cwd=tmp_path
        )
    assert (ran.status, ran.err) == (1, "keyferry: there is no tenant demo\n")
    assert not (tmp_path / "token").exists()


async def test_unknown_credentials_are_reported(bus: ProvisionedBus, tmp_path: Path) -> None:
    anonymous = {"KEYFERRY_NATS_URL": bus.nats_url}
    ran = await keyferry_process("tenants", "list", environment=anonymous, cwd=tmp_path)
    assert ran.status == 1
    assert "does not accept a connection without credentials" in ran.err
    assert "KEYFERRY_NATS_NKEY_FILE" in ran.err
    (tmp_path / "seed").write_text("no seed at all")
    ran = await keyferry(
        "tenants", "list", environment=anonymous | {"KEYFERRY_NATS_NKEY_FILE": str(tmp_path / "seed")}, cwd=tmp_path
    )
    assert ran.status == 1
    assert "holds no nkey seed" in ran.err
    assert "no seed at all" not in ran.err


async def test_credentials_of_another_user_are_reported(
    bus: ProvisionedBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OperatorConnection, "ask", partialmethod(OperatorConnection.ask, timeout_seconds=0.5))
    environment = {"KEYFERRY_NATS_URL": bus.nats_url, "KEYFERRY_NATS_NKEY_FILE": str(bus.seed_file("ingress"))}
    ran = await keyferry("tenants", "list", environment=environment, cwd=tmp_path)
    assert ran.status == 1
    assert "the bus does not permit tenant.list" in ran.err
    assert "Use the operator's seed" in ran.err


def _registering(sent: list[CreateClientToken]) -> Callable[[CreateClientToken], Awaitable[ClientToken]]:
    async def register(command: CreateClientToken) -> ClientToken:
        sent.append(command)
        return ClientToken(
            token_id="tok_1",
            tenant=command.tenant,
            label=command.label,
            last4=command.last4,
            created_at=datetime.now(UTC),
        )

    return register
