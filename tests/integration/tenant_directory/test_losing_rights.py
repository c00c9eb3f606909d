"""Who may do less from now on cannot win it back: not by signing in meanwhile, and not by an invitation sent before."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import ColumnElement, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import AcceptInvitation, ListMembers, Member, MemberState
from keyferry.contracts.membership_management import INVITATION_ACCEPT, MEMBER_LIST, MEMBER_UPDATE
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.sign_in_management import SESSION_START
from keyferry.runtime.database.engine import engine_for
from services.tenant_directory.member_store import note_sign_in
from services.tenant_directory.member_tables import members_table
from tests.integration.tenant_directory.processes import DirectoryServers, Operator
from tests.integration.tenant_directory.test_people import change, claim, invite, join, person, refusal
from tests.integration.tenant_directory.test_sessions import acme_member, command
from tests.support.waiting import eventually_async

OWNER, ADMIN, DEVELOPER, VIEWER = AccessRole.OWNER, AccessRole.ADMIN, AccessRole.DEVELOPER, AccessRole.VIEWER


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        yield operator


@pytest.fixture
async def engine(servers: DirectoryServers) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(servers.settings())
    yield engine
    await engine.dispose()


async def someone_waits(connection: AsyncConnection) -> bool:
    """Return whether a transaction waits for a lock of another one."""
    return bool(await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


async def members_of_acme(operator: Operator) -> list[Member]:
    return (await operator.ask(MEMBER_LIST, ListMembers(tenant="acme"))).members


async def invited_by(operator: Operator, member: Member, name: str) -> AcceptInvitation:
    """Have an owner invite `name` as another owner; return what accepts it."""
    _, digest = await invite(operator, name, OWNER, actor_role=OWNER, actor_member=member.member_id)
    return AcceptInvitation(digest=digest, person=person(name))


async def test_a_suspension_during_a_sign_in_holds(operator: Operator, engine: AsyncEngine) -> None:
    ann = await join(operator, "ann", OWNER)
    hers: ColumnElement[bool] = members_table.c.member_id == ann.member_id

    async def sign_in() -> None:
        async with engine.begin() as connection:
            await note_sign_in(connection, "usr_ann", datetime.now(UTC))

    async with engine.begin() as suspending:
        await suspending.execute(update(members_table).where(hers).values(state="suspended", role="viewer"))
        signing_in = asyncio.create_task(sign_in())
        await eventually_async("the sign-in waits for the suspension", partial(someone_waits, suspending))
    await signing_in
    (found,) = await members_of_acme(operator)
    assert (found.state, found.role) == (MemberState.SUSPENDED, VIEWER)
    assert found.last_signed_in_at is not None


async def test_a_tenant_keeps_an_owner_though_two_lose_the_role_at_once(
    operator: Operator, engine: AsyncEngine
) -> None:
    ann, bob = [
        await operator.ask(SESSION_START, command(name, memberships=[acme_member(OWNER)])) for name in ("ann", "bob")
    ]
    async with engine.begin() as connection:
        locked = text("SELECT tenant FROM tenants WHERE tenant = 'acme' FOR UPDATE")
        await connection.execute(locked)
        his: ColumnElement[bool] = members_table.c.user_id == bob.user_id
        await connection.execute(update(members_table).where(his).values(role="viewer"))
        leaving = asyncio.create_task(operator.ask(SESSION_START, command("ann", memberships=[])))
        await eventually_async("the sign-in waits, or is done", partial(_waits_or_done, connection, leaving))
    await leaving
    owners = [member.user_id for member in await members_of_acme(operator) if member.role is OWNER]
    assert owners == [ann.user_id]


async def _waits_or_done(connection: AsyncConnection, task: asyncio.Task[object]) -> bool:
    return task.done() or await someone_waits(connection)


async def test_who_is_demoted_comes_back_by_no_invitation(operator: Operator, engine: AsyncEngine) -> None:
    ann, _ = await join(operator, "ann", OWNER), await join(operator, "bob", OWNER)
    kept, lost = await invited_by(operator, ann, "cora"), await invited_by(operator, ann, "ann.again")
    await operator.ask(MEMBER_UPDATE, change(ann, name="Ann"))
    assert (await operator.ask(INVITATION_ACCEPT, kept)).role is OWNER
    await operator.ask(MEMBER_UPDATE, change(ann, role=VIEWER))
    code, message = await refusal(operator, INVITATION_ACCEPT, lost)
    assert (code, "revoked" in message) == (ErrorCode.CONFLICT, True)

    async with engine.begin() as connection:
        carl = await claim(connection, "carl", OWNER)
    lost = await invited_by(operator, carl, "carl.again")
    async with engine.begin() as connection:
        await claim(connection, "carl", ADMIN)
    assert "revoked" in (await refusal(operator, INVITATION_ACCEPT, lost))[1]


async def test_whom_the_claims_name_no_more_comes_back_by_no_invitation(operator: Operator) -> None:
    await operator.ask(SESSION_START, command("bob", memberships=[acme_member(OWNER)]))
    await operator.ask(SESSION_START, command("ann", memberships=[acme_member(OWNER)]))
    ann = next(member for member in await members_of_acme(operator) if member.email == "ann@example.com")
    lost = await invited_by(operator, ann, "ann.again")
    await operator.ask(SESSION_START, command("ann", memberships=[]))
    assert len(await members_of_acme(operator)) == 1
    assert "revoked" in (await refusal(operator, INVITATION_ACCEPT, lost))[1]


async def test_claims_that_come_back_do_not_end_a_suspension(operator: Operator) -> None:
    await operator.ask(SESSION_START, command("bob", memberships=[acme_member(OWNER)]))
    ann = await operator.ask(SESSION_START, command("ann", memberships=[acme_member(DEVELOPER)]))
    member = next(one for one in await members_of_acme(operator) if one.user_id == ann.user_id)
    await operator.ask(MEMBER_UPDATE, change(member, state=MemberState.SUSPENDED))
    for memberships in ([], [acme_member(DEVELOPER)]):
        session = await operator.ask(SESSION_START, command("ann", memberships=memberships))
        assert session.tenant is None
    (found,) = [one for one in await members_of_acme(operator) if one.user_id == ann.user_id]
    assert found.state is MemberState.SUSPENDED
