"""Scopes, rotation with an overlap, and the last use of client tokens, over the bus and in PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from keyferry.contracts import client_token
from keyferry.contracts.client_token_management import TOKEN_END_OVERLAP, TOKEN_ROTATE, TOKEN_USED
from keyferry.contracts.client_token_use import ClientTokensUsed, ClientTokenUse, EndTokenOverlap, RotateClientToken
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ClientToken, ListClientTokens, RevokeClientToken, UpdateClientToken
from keyferry.contracts.topology import TOKEN_CREATE, TOKEN_LIST, TOKEN_UPDATE, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.engine import engine_for
from services.tenant_directory.client_token_store import ClientTokenStore
from services.tenant_directory.tables import tokens_table
from tests.integration.tenant_directory.processes import (
    PEPPER,
    DirectoryServers,
    Follower,
    Operator,
    new_digest,
    token_command,
)
from tests.support.waiting import eventually, eventually_async

HOUR = 3600


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        yield operator


def rotation(token: ClientToken, digest: str, seconds: int = HOUR) -> RotateClientToken:
    return RotateClientToken(
        tenant=token.tenant, token_id=token.token_id, digest=digest, last4="neW1", overlap_seconds=seconds
    )


async def shown(operator: Operator, token: ClientToken) -> ClientToken:
    listed = await operator.ask(TOKEN_LIST, ListClientTokens(tenant=token.tenant))
    return next(each for each in listed.tokens if each.token_id == token.token_id)


def entry(ingress: Follower, digest: str) -> ClientToken | None:
    return ingress.tokens.get(client_token.fingerprint(digest, PEPPER))


async def test_scopes_are_stored_listed_changed_and_in_the_view(servers: DirectoryServers, operator: Operator) -> None:
    digest = new_digest()
    scopes = {"allowed_operations": ["search"], "allowed_apis": ["chat"], "allowed_origins": ["https://a.example"]}
    command = token_command("acme", digest)
    token = await operator.ask(TOKEN_CREATE, type(command).model_validate(command.model_dump() | scopes))
    assert token == await shown(operator, token)
    assert token.model_dump(include={*scopes}) == scopes
    change = UpdateClientToken.model_validate(
        {
            "tenant": "acme",
            "token_id": token.token_id,
            "label": "new",
            "allowed_operations": ["invoice", "search"],
            "clear": ["allowed_origins"],
            "disabled": True,
        }
    )
    changed = await operator.ask(TOKEN_UPDATE, change)
    assert (changed.label, changed.allowed_operations, changed.allowed_origins) == ("new", ["invoice", "search"], None)
    assert changed.disabled_at is not None
    assert changed == await shown(operator, token)
    async with servers.ingress() as ingress:
        await eventually("the view has it", lambda: entry(ingress, digest) == changed)
        enabled = await operator.ask(
            TOKEN_UPDATE, UpdateClientToken(tenant="acme", token_id=token.token_id, disabled=False)
        )
        await eventually("it is enabled there", lambda: entry(ingress, digest) == enabled)


async def test_a_rotated_token_keeps_its_id_and_its_old_secret_until_the_overlap_ends(
    servers: DirectoryServers, operator: Operator
) -> None:
    old, new = new_digest(), new_digest()
    token, _ = await operator.create_token("acme", old)
    before = datetime.now(UTC)
    rotated = await operator.ask(TOKEN_ROTATE, rotation(token, new))
    assert rotated.previous is not None
    assert (rotated.token_id, rotated.last4, rotated.previous.last4) == (token.token_id, "neW1", "wXyZ")
    assert before <= rotated.previous.valid_until - timedelta(seconds=HOUR) <= datetime.now(UTC)
    assert rotated == await shown(operator, token)
    async with servers.ingress() as ingress:
        await eventually("both secrets are known", lambda: entry(ingress, new) and entry(ingress, old))
        first, second = entry(ingress, old), entry(ingress, new)
        assert first is not None
        assert second is not None
        assert (first.token_id, first.last4) == (token.token_id, "wXyZ")
        assert (first.secret_valid_until, second.secret_valid_until) == (rotated.previous.valid_until, None)
        with pytest.raises(Refused, match="end that overlap first"):
            await operator.ask(TOKEN_ROTATE, rotation(token, new_digest()))
        ended = await operator.ask(TOKEN_END_OVERLAP, EndTokenOverlap(tenant="acme", token_id=token.token_id))
        assert ended.previous is None
        assert ended == await shown(operator, token)
        await eventually("it has ended", lambda: (found := entry(ingress, old)) and has_ended(found))
        with pytest.raises(Refused, match="nothing to end"):
            await operator.ask(TOKEN_END_OVERLAP, EndTokenOverlap(tenant="acme", token_id=token.token_id))
        change = UpdateClientToken(tenant="acme", token_id=token.token_id, disabled=True)
        await operator.ask(TOKEN_UPDATE, change)
        await eventually("every secret is disabled", lambda: (found := entry(ingress, old)) and found.disabled_at)


def has_ended(token: ClientToken) -> bool:
    return token.secret_valid_until is not None and token.secret_valid_until <= datetime.now(UTC)


async def test_a_rotation_without_an_overlap_ends_all_older_secrets(
    servers: DirectoryServers, operator: Operator
) -> None:
    digests = [new_digest() for _ in range(3)]
    token, _ = await operator.create_token("acme", digests[0])
    await operator.ask(TOKEN_ROTATE, rotation(token, digests[1]))
    rotated = await operator.ask(TOKEN_ROTATE, rotation(token, digests[2], 0))
    assert rotated.previous is None
    async with servers.ingress() as ingress:
        await eventually("all are known", lambda: all(entry(ingress, digest) for digest in digests))
        found = [entry(ingress, digest) for digest in digests]
        assert [each is not None and each.secret_valid_until is not None for each in found] == [True, True, False]
        assert all(has_ended(each) for each in found[:2] if each is not None)


async def test_no_secret_is_registered_twice_not_even_one_that_was_replaced(operator: Operator) -> None:
    old, new = new_digest(), new_digest()
    token, _ = await operator.create_token("acme", old)
    await operator.create_tenant("other")
    other, _ = await operator.create_token("other")
    await operator.ask(TOKEN_ROTATE, rotation(token, new, 0))
    for digest in (old, new):
        for attempt in (
            operator.ask(TOKEN_CREATE, token_command("other", digest)),
            operator.ask(TOKEN_ROTATE, rotation(other, digest)),
            operator.ask(TOKEN_ROTATE, rotation(token, digest)),
        ):
            with pytest.raises(Refused, match="already registered"):
                await attempt
    assert await shown(operator, other) == other, "a refused rotation changes nothing"


async def test_a_foreign_token_answers_as_one_that_does_not_exist(operator: Operator) -> None:
    token, _ = await operator.create_token("acme")
    await operator.create_tenant("other")
    foreign = token.model_copy(update={"tenant": "other"})
    absent = foreign.model_copy(update={"token_id": "tok_absent"})
    answers: list[tuple[ErrorCode, str]] = []
    for each in (foreign, absent):
        named = {"tenant": each.tenant, "token_id": each.token_id}
        for attempt in (
            operator.ask(TOKEN_ROTATE, rotation(each, new_digest())),
            operator.ask(TOKEN_END_OVERLAP, EndTokenOverlap.model_validate(named)),
            operator.ask(TOKEN_UPDATE, UpdateClientToken.model_validate({**named, "disabled": True})),
        ):
            with pytest.raises(Refused) as caught:
                await attempt
            answers.append((caught.value.refusal.code, caught.value.refusal.message.replace(each.token_id, "ID")))
    assert answers[:3] == answers[3:]


async def test_two_rotations_at_the_same_time_leave_one_current_secret(
    servers: DirectoryServers, operator: Operator
) -> None:
    token, _ = await operator.create_token("acme")
    digests = [new_digest() for _ in range(8)]
    await asyncio.gather(*(operator.ask(TOKEN_ROTATE, rotation(token, digest, 0)) for digest in digests))
    async with servers.ingress() as ingress:
        await eventually("all are known", lambda: all(entry(ingress, digest) for digest in digests))
        found = [entry(ingress, digest) for digest in digests]
        assert sum(each is not None and each.secret_valid_until is None for each in found) == 1


async def test_a_process_whose_clock_is_behind_rotates_and_lists_after_others(
    servers: DirectoryServers, operator: Operator
) -> None:
    """Secrets that were ended just now are still accepted by its clock, more than one of them."""
    token, _ = await operator.create_token("acme")
    engine = engine_for(servers.settings())
    ahead = ClientTokenStore(engine, lambda: datetime.now(UTC) + timedelta(seconds=HOUR))
    behind = ClientTokenStore(engine, lambda: datetime.now(UTC))
    try:
        for store in (ahead, ahead, ahead, behind):
            digest = new_digest()
            command = rotation(token, digest, 0)
            rotated = await store.rotate_token(command, client_token.fingerprint(digest, PEPPER))
            assert rotated.previous is None
        listed = await behind.list_tokens(ListClientTokens(tenant="acme"))
        [only] = listed.tokens
        # The last rotation has ended all others by its own clock.
        assert only.previous is None
        await behind.revoke_token(RevokeClientToken(tenant="acme", token_id=token.token_id))
    finally:
        await engine.dispose()


async def test_a_change_that_waited_for_another_one_comes_after_it(
    servers: DirectoryServers, operator: Operator
) -> None:
    """The clock is read under the lock: the moment of asking may be before the end of a secret that was replaced meanwhile."""
    token, _ = await operator.create_token("acme")
    engine = engine_for(servers.settings())
    asked = datetime.now(UTC)
    read = asyncio.Event()

    def clock() -> datetime:
        read.set()
        return datetime.now(UTC)

    store = ClientTokenStore(engine, clock)
    try:
        async with engine.connect() as other:
            locked = select(tokens_table).where(tokens_table.c.token_id == token.token_id).with_for_update()
            await other.execute(locked)
            digest = new_digest()
            waiting = asyncio.create_task(
                store.rotate_token(rotation(token, digest), client_token.fingerprint(digest, PEPPER))
            )
            await eventually_async("it waits for the lock", partial(_waits_for_a_lock, engine))
            assert not read.is_set()
            released = datetime.now(UTC)
            await other.rollback()
        rotated = await waiting
        assert rotated.previous is not None
        assert rotated.previous.valid_until >= released + timedelta(seconds=HOUR) > asked + timedelta(seconds=HOUR)
    finally:
        await engine.dispose()


async def _waits_for_a_lock(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        waiting = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR UPDATE%'"
        )
        return bool(await connection.scalar(waiting))


async def test_the_last_use_is_recorded_and_never_goes_back_or_into_the_future(
    servers: DirectoryServers, operator: Operator
) -> None:
    token, _ = await operator.create_token("acme")
    unused, _ = await operator.create_token("acme")
    now = datetime.now(UTC).replace(microsecond=0)

    async with servers.bus.connected(Role.INGRESS) as ingress:

        async def report(tenant: str, used_at: datetime) -> None:
            uses = [ClientTokenUse(tenant=tenant, token_id=token.token_id, used_at=used_at)]
            await ingress.client.publish(TOKEN_USED.format(), ClientTokensUsed(uses=uses).encode())

        async def last_used() -> datetime | None:
            return (await shown(operator, token)).last_used_at

        async def is_recorded() -> bool:
            return await last_used() == now

        await report("other", now)
        await report("acme", now - timedelta(hours=2))
        await report("acme", now)
        await eventually_async("it is recorded", is_recorded)
        await report("acme", now - timedelta(hours=1))
        await report("acme", now + timedelta(days=1))

        async def is_later() -> bool:
            found = await last_used()
            return found is not None and found > now

        await eventually_async("the last report is recorded", is_later)
        found = await last_used()
        assert found is not None
        assert found <= datetime.now(UTC), "a wrong clock cannot move it into the future"
    assert (await shown(operator, unused)).last_used_at is None
