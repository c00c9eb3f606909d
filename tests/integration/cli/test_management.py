"""Management commands over a real bus: what is asked, what is shown, and what a person is told when it fails."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from keyferry.contracts import client_token
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ClientToken, CreateClientToken, CreateTenant, Tenant, Tier
from keyferry.contracts.topology import TENANT_CREATE, TOKEN_CREATE, Role
from keyferry.runtime.bus import Refused
from tests.integration.cli.answering import owner
from tests.integration.cli.command import keyferry, operator_of
from tests.support.bus import Installation


async def test_a_tenant_is_created_as_asked(bus: Installation, tmp_path: Path) -> None:
    asked: list[CreateTenant] = []

    async def create(command: CreateTenant) -> Tenant:
        asked.append(command)
        return Tenant(tenant=command.tenant, name=command.name, tier=command.tier)

    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_CREATE, CreateTenant, create):
        arguments = ("tenants", "create", "acme", "--name", "Acme Ltd", "--tier", "starter")
        ran = await keyferry(*arguments, environment=operator_of(bus), cwd=tmp_path)
        as_data = await keyferry(*arguments, "--json", environment=operator_of(bus), cwd=tmp_path)
    assert (ran.status, ran.out) == (0, "created acme: Acme Ltd, tier starter, active\n")
    assert asked[0] == CreateTenant(tenant="acme", name="Acme Ltd", tier=Tier.STARTER)
    assert json.loads(as_data.out) == {"tenant": "acme", "name": "Acme Ltd", "tier": "starter", "suspended": False}


async def test_an_owners_refusal_is_one_line(bus: Installation, tmp_path: Path) -> None:
    async def create(command: CreateTenant) -> Tenant:
        raise Refused(ErrorCode.CONFLICT, f"there is a tenant {command.tenant} already")

    async with owner(bus, Role.TENANT_DIRECTORY, TENANT_CREATE, CreateTenant, create):
        ran = await keyferry("tenants", "create", "acme", environment=operator_of(bus), cwd=tmp_path)
    assert (ran.status, ran.out, ran.err) == (1, "", "keyferry: there is a tenant acme already\n")


async def test_an_owner_that_is_not_there_is_named(bus: Installation, tmp_path: Path) -> None:
    ran = await keyferry("tenants", "list", environment=operator_of(bus), cwd=tmp_path)
    assert ran.status == 1
    assert "nobody answers tenant.list: is tenant-directory running?" in ran.err


async def test_a_token_is_shown_once_and_only_its_digest_is_sent(bus: Installation, tmp_path: Path) -> None:
    sent: list[CreateClientToken] = []
    async with owner(bus, Role.TENANT_DIRECTORY, TOKEN_CREATE, CreateClientToken, _registering(sent)):
        ran = await keyferry("tokens", "create", "--label", "app", environment=operator_of(bus), cwd=tmp_path)
        kept = await keyferry("tokens", "create", "--output", "token", environment=operator_of(bus), cwd=tmp_path)
    token = ran.out.strip()
    assert client_token.is_well_formed(token)
    assert sent[0].digest == client_token.digest(token)
    assert "not shown again" in ran.err
    assert token not in ran.err
    file = tmp_path / "token"
    assert kept.out == ""
    assert file.stat().st_mode & 0o777 == 0o600
    assert client_token.digest(file.read_text().strip()) == sent[1].digest


async def test_a_token_that_is_refused_leaves_no_file(bus: Installation, tmp_path: Path) -> None:
    async def refuse(_: CreateClientToken) -> ClientToken:
        raise Refused(ErrorCode.NOT_FOUND, "there is no tenant demo")

    async with owner(bus, Role.TENANT_DIRECTORY, TOKEN_CREATE, CreateClientToken, refuse):
        ran = await keyferry("tokens", "create", "--output", "token", environment=operator_of(bus), cwd=tmp_path)
    assert (ran.status, ran.err) == (1, "keyferry: there is no tenant demo\n")
    assert not (tmp_path / "token").exists()


async def test_credentials_that_the_bus_does_not_know(bus: Installation, tmp_path: Path) -> None:
    nobody = {"KEYFERRY_NATS_URL": bus.nats_url}
    ran = await keyferry("tenants", "list", environment=nobody, cwd=tmp_path)
    assert ran.status == 1
    assert "does not accept a connection without credentials" in ran.err
    assert "KEYFERRY_NATS_NKEY_FILE" in ran.err
    (tmp_path / "seed").write_text("no seed at all")
    ran = await keyferry(
        "tenants", "list", environment=nobody | {"KEYFERRY_NATS_NKEY_FILE": str(tmp_path / "seed")}, cwd=tmp_path
    )
    assert ran.status == 1
    assert "holds no nkey seed" in ran.err
    assert "no seed at all" not in ran.err


async def test_credentials_of_somebody_else(bus: Installation, tmp_path: Path) -> None:
    environment = {"KEYFERRY_NATS_URL": bus.nats_url, "KEYFERRY_NATS_NKEY_FILE": str(bus.seed_file("ingress"))}
    ran = await keyferry("tenants", "list", environment=environment, cwd=tmp_path)
    assert ran.status == 1
    assert "the bus does not let us ask tenant.list" in ran.err
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
