"""Requests of an operator to the directory over the bus."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy.engine import make_url

from keyferry.contracts import client_token
from keyferry.contracts.envelope import Message
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import (
    ClientToken,
    ClientTokens,
    CreateTenant,
    KeyPolicy,
    ListClientTokens,
    ListTenants,
    RevokeClientToken,
    Tenant,
    Tenants,
    Tier,
    TierSource,
    UpdateTenant,
)
from keyferry.contracts.topology import (
    TENANT_CREATE,
    TENANT_LIST,
    TENANT_UPDATE,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
    AnySubject,
    Role,
    subscriptions_of,
)
from keyferry.runtime.bus.requests import Refused
from tests.integration.tenant_directory.processes import DirectoryServers, Operator, new_digest, token_command


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        yield operator


async def refusal(operator: Operator, subject: AnySubject, question: Message) -> tuple[ErrorCode, str]:
    with pytest.raises(Refused) as caught:
        await operator.ask(subject, question)
    return caught.value.refusal.code, caught.value.refusal.message


async def test_it_subscribes_to_the_topologys_subjects(servers: DirectoryServers) -> None:
    async with servers.starting() as service:
        assert sorted(subject.name for subject in service.bus.subscriptions) == sorted(
            subject.name for subject in subscriptions_of(Role.TENANT_DIRECTORY)
        )


async def test_tenants(operator: Operator) -> None:
    created = await operator.ask(TENANT_CREATE, CreateTenant(tenant="acme", name="Acme", tier=Tier.STARTER))
    assert created == Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
    changed = await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="acme", tier=Tier.ENTERPRISE))
    by_operator = TierSource.OPERATOR
    assert changed == Tenant(tenant="acme", name="Acme", tier=Tier.ENTERPRISE, tier_set_by=by_operator)
    platform = Tenant(tenant="platform", name="Platform", tier=Tier.ENTERPRISE, tier_set_by=by_operator)
    assert await operator.ask(TENANT_LIST, ListTenants()) == Tenants(tenants=[changed, platform])


async def test_the_key_policy_is_stored_with_the_tenant(operator: Operator) -> None:
    created = await operator.create_tenant("acme")
    assert (created.key_policy, created.drop_unsupported) == (None, False)
    command = UpdateTenant(tenant="acme", key_policy=KeyPolicy.OWN_THEN_PLATFORM, drop_unsupported=True)
    changed = await operator.ask(TENANT_UPDATE, command)
    assert (changed.key_policy, changed.drop_unsupported) == (KeyPolicy.OWN_THEN_PLATFORM, True)
    renamed = await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="acme", name="New"))
    assert renamed == changed.model_copy(update={"name": "New"})
    assert renamed in (await operator.ask(TENANT_LIST, ListTenants())).tenants


async def test_the_permission_for_unapproved_models_is_stored_with_the_tenant(operator: Operator) -> None:
    assert not (await operator.create_tenant("acme")).allow_unapproved
    for allowed in (True, False):
        command = UpdateTenant(tenant="acme", allow_unapproved=allowed)
        changed = await operator.ask(TENANT_UPDATE, command)
        assert changed.allow_unapproved is allowed
        assert changed in (await operator.ask(TENANT_LIST, ListTenants())).tenants


async def test_client_tokens(operator: Operator) -> None:
    await operator.create_tenant("acme")
    await operator.create_tenant("other")
    expires_at = datetime.now(UTC) + timedelta(days=1)
    command = token_command("acme", new_digest()).model_copy(
        update={"expires_at": expires_at, "allowed_models": ["gpt-x", "claude-y"]}
    )
    token = await operator.ask(TOKEN_CREATE, command)
    assert re.fullmatch(r"tok_[0-9a-v]{26}", token.token_id)
    assert (token.tenant, token.label, token.last4) == ("acme", "test", "wXyZ")
    assert (token.expires_at, token.allowed_models, token.revoked_at) == (expires_at, ["gpt-x", "claude-y"], None)
    second, _ = await operator.create_token("acme")
    revoked = await operator.revoke(token)
    assert revoked.revoked_at is not None
    assert await operator.revoke(token) == revoked
    listed = await operator.ask(TOKEN_LIST, ListClientTokens(tenant="acme"))
    assert listed == ClientTokens(tokens=[revoked, second])
    assert await operator.ask(TOKEN_LIST, ListClientTokens(tenant="other")) == ClientTokens(tokens=[])


async def test_client_tokens_are_searched_filtered_and_paged(operator: Operator) -> None:
    await operator.create_tenant("acme")
    await operator.create_tenant("other")
    labels = ("billing 100%", "Billing_2", "search")
    tokens = [await _labelled(operator, "acme", label) for label in labels]
    foreign = await _labelled(operator, "other", "billing")
    revoked = await operator.revoke(tokens[2])

    async def found(**query: object) -> tuple[list[str], bool]:
        command = ListClientTokens.model_validate({"tenant": "acme", **query})
        listed = await operator.ask(TOKEN_LIST, command)
        return [token.label for token in listed.tokens], listed.more

    assert await found() == (list(labels), False)
    assert await found(newest_first=True) == (list(reversed(labels)), False)
    assert await found(limit=2) == (list(labels[:2]), True)
    assert await found(limit=2, after=tokens[1].token_id) == (["search"], False)
    assert await found(newest_first=True, limit=1, after=revoked.token_id) == (["Billing_2"], True)
    assert await found(text="BILLING") == (list(labels[:2]), False)
    # What LIKE gives a meaning is searched for as it is.
    assert await found(text="0%") == (["billing 100%"], False)
    assert await found(text="g_2") == (["Billing_2"], False)
    assert await found(text="g%2") == ([], False)
    assert await found(state="revoked") == (["search"], False)
    assert await found(state="active") == (list(labels[:2]), False)
    assert await found(state="disabled") == ([], False)
    assert await found(token_id=tokens[0].token_id) == ([labels[0]], False)
    assert await found(token_id=foreign.token_id) == ([], False)
    gone = await operator.ask(TOKEN_LIST, ListClientTokens(tenant="acme", after=foreign.token_id))
    assert gone == ClientTokens(tokens=[], after_found=False)


async def _labelled(operator: Operator, tenant: str, label: str) -> ClientToken:
    command = token_command(tenant, new_digest()).model_copy(update={"label": label})
    return await operator.ask(TOKEN_CREATE, command)


async def test_a_tenant_is_created_once(operator: Operator) -> None:
    await operator.create_tenant("acme")
    for name in ("Acme", "Another"):
        code, message = await refusal(operator, TENANT_CREATE, CreateTenant(tenant="acme", name=name))
        assert code is ErrorCode.CONFLICT
        assert "'acme' exists already" in message
        assert "update it" in message
    assert (await operator.ask(TENANT_LIST, ListTenants())).tenants[0].name == "Acme"


async def test_a_token_is_registered_once_for_any_tenant(operator: Operator) -> None:
    await operator.create_tenant("acme")
    await operator.create_tenant("other")
    digest = new_digest()
    await operator.create_token("acme", digest)
    for tenant in ("acme", "other"):
        code, message = await refusal(operator, TOKEN_CREATE, token_command(tenant, digest))
        assert code is ErrorCode.CONFLICT
        assert message == "this client token is already registered. Create another one and register that"


async def test_refusals_contain_the_remedy(operator: Operator) -> None:
    await operator.create_tenant("acme")
    await operator.create_tenant("stopped")
    token, _ = await operator.create_token("acme")
    await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="stopped", suspended=True))
    past = token_command("acme", new_digest()).model_copy(update={"expires_at": datetime(2020, 1, 1, tzinfo=UTC)})
    cases: list[tuple[AnySubject, Message, ErrorCode, str]] = [
        (TENANT_CREATE, CreateTenant(tenant="platform", name="P"), ErrorCode.INVALID, "Choose another name"),
        (TENANT_UPDATE, UpdateTenant(tenant="nobody", name="N"), ErrorCode.NOT_FOUND, "list the tenants"),
        (TENANT_UPDATE, UpdateTenant(tenant="acme"), ErrorCode.INVALID, "give at least one of"),
        (TOKEN_CREATE, token_command("nobody", new_digest()), ErrorCode.NOT_FOUND, "create it first"),
        (TOKEN_CREATE, token_command("stopped", new_digest()), ErrorCode.CONFLICT, "End the suspension first"),
        (TOKEN_CREATE, past, ErrorCode.INVALID, "give a later time"),
        (TOKEN_LIST, ListClientTokens(tenant="nobody"), ErrorCode.NOT_FOUND, "no tenant 'nobody'"),
        (TOKEN_REVOKE, RevokeClientToken(tenant="acme", token_id="tok_x"), ErrorCode.NOT_FOUND, "list its tokens"),
        (
            TOKEN_REVOKE,
            RevokeClientToken(tenant="stopped", token_id=token.token_id),
            ErrorCode.NOT_FOUND,
            "list its tokens",
        ),
    ]
    for subject, question, code, detail in cases:
        assert (await refusal(operator, subject, question))[0] is code, question
        assert detail in (await refusal(operator, subject, question))[1]


async def test_an_unknown_field_is_rejected_by_name(operator: Operator) -> None:
    reply = await operator.bus.client.request(
        TENANT_CREATE.format(), b'{"tenant": "acme", "name": "Acme", "teir": "free"}', timeout=10
    )
    assert b"teir: there is no such field" in reply.data


async def test_the_database_never_holds_a_usable_token(operator: Operator, servers: DirectoryServers) -> None:
    await operator.create_tenant("acme")
    minted = client_token.mint().reveal()
    await operator.create_token("acme", client_token.digest(minted))
    url = make_url(servers.admin_url.reveal()).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        rows = str(connection.execute("SELECT t::text FROM tenant_directory.client_tokens t").fetchall())
        rows += str(connection.execute("SELECT o::text FROM tenant_directory.outbox o").fetchall())
    assert "acme" in rows
    assert minted not in rows
    assert minted[:20] not in rows
    assert client_token.digest(minted) not in rows
