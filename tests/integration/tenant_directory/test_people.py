"""Members, invitations and teams over the bus, and what sign-in does with them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from keyferry.contracts import invitation_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.envelope import Message
from keyferry.contracts.membership import (
    AcceptInvitation,
    CreateInvitation,
    CreateTeam,
    GetMember,
    Invitation,
    ListInvitations,
    ListMembers,
    ListTeams,
    Member,
    MemberSource,
    MemberState,
    RemoveMember,
    RemoveTeam,
    RevokeInvitation,
    SignedInPerson,
    UpdateMember,
    UpdateTeam,
)
from keyferry.contracts.membership_management import (
    INVITATION_ACCEPT,
    INVITATION_CREATE,
    INVITATION_LIST,
    INVITATION_REVOKE,
    MEMBER_GET,
    MEMBER_LIST,
    MEMBER_REMOVE,
    MEMBER_UPDATE,
    MEMBERS_VIEW,
    TEAM_CREATE,
    TEAM_LIST,
    TEAM_REMOVE,
    TEAM_UPDATE,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import CreateClientToken, ListClientTokens, UpdateTenant
from keyferry.contracts.topology import TENANT_UPDATE, TOKEN_CREATE, TOKEN_LIST, AnySubject, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.database.engine import engine_for
from keyferry.runtime.views import KvView
from services.tenant_directory.member_store import (
    MemberStore,
    apply_claims,
    memberships_of,
    note_sign_in,
)
from services.tenant_directory.member_tables import invitations_table
from services.tenant_directory.tenants import RuleViolation
from tests.integration.tenant_directory.processes import DirectoryServers, Operator, new_digest
from tests.support.waiting import eventually

OWNER, ADMIN, VIEWER = AccessRole.OWNER, AccessRole.ADMIN, AccessRole.VIEWER
OPERATOR = AccessRole.OPERATOR


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        for tenant in ("acme", "globex"):
            await operator.create_tenant(tenant)
        yield operator


@pytest.fixture
async def engine(servers: DirectoryServers) -> AsyncIterator[AsyncEngine]:
    engine = engine_for(servers.settings())
    yield engine
    await engine.dispose()


async def refusal(operator: Operator, subject: AnySubject, question: Message) -> tuple[ErrorCode, str]:
    with pytest.raises(Refused) as caught:
        await operator.ask(subject, question)
    return caught.value.refusal.code, caught.value.refusal.message


async def invite(operator: Operator, name: str, role: AccessRole = VIEWER, **fields: object) -> tuple[Invitation, str]:
    """Invite `name@example.com`; return the invitation and the digest of its code."""
    digest = invitation_code.digest(invitation_code.mint().reveal())
    values = {"tenant": "acme", "actor_role": OPERATOR, "email": f"{name}@example.com", "role": role, "digest": digest}
    return await operator.ask(INVITATION_CREATE, CreateInvitation.model_validate(values | fields)), digest


def person(name: str) -> SignedInPerson:
    return SignedInPerson(user_id=f"usr_{name}", email=f"{name}@example.com", email_verified=True, name=name.title())


async def join(operator: Operator, name: str, role: AccessRole = VIEWER, **fields: object) -> Member:
    _, digest = await invite(operator, name, role, **fields)
    return await operator.ask(INVITATION_ACCEPT, AcceptInvitation(digest=digest, person=person(name)))


def change(member: Member, **fields: object) -> UpdateMember:
    values = {"tenant": member.tenant, "member_id": member.member_id, "actor_role": OPERATOR}
    return UpdateMember.model_validate(values | fields)


def removal(member: Member, **fields: object) -> RemoveMember:
    values = {"tenant": member.tenant, "member_id": member.member_id, "actor_role": OPERATOR}
    return RemoveMember.model_validate(values | fields)


async def test_an_invited_person_becomes_a_member_in_the_view(operator: Operator, servers: DirectoryServers) -> None:
    await operator.ask(TEAM_CREATE, CreateTeam(tenant="acme", actor_role=OPERATOR, team="sales", name="Sales"))
    made, digest = await invite(operator, "ann", OWNER, teams=["sales"])
    assert made.expires_at - made.created_at == timedelta(days=7)
    command = AcceptInvitation(digest=digest, person=person("ann"))
    ann = await operator.ask(INVITATION_ACCEPT, command)
    assert (ann.tenant, ann.role, ann.name, ann.teams, ann.user_id) == ("acme", OWNER, "Ann", ["sales"], "usr_ann")
    assert await operator.ask(MEMBER_GET, GetMember(tenant="acme", member_id=ann.member_id)) == ann
    assert (await operator.ask(MEMBER_LIST, ListMembers(tenant="acme"))).members == [ann]
    (listed,) = (await operator.ask(INVITATION_LIST, ListInvitations(tenant="acme"))).invitations
    assert (listed.member_id, listed.accepted_at is not None) == (ann.member_id, True)
    assert (await refusal(operator, INVITATION_ACCEPT, command))[0] is ErrorCode.CONFLICT
    async with servers.bus.connected(Role.CONSOLE) as bus:
        view = KvView(bus, MEMBERS_VIEW)
        await view.start()
        key = f"acme.{ann.member_id}"
        await eventually("ann is in the view", lambda: view.get(key) == ann)
        viewer = await operator.ask(MEMBER_UPDATE, change(await join(operator, "bob", OWNER), role=VIEWER))
        await eventually("bob is a viewer", lambda: view.get(f"acme.{viewer.member_id}") == viewer)
        await operator.ask(MEMBER_REMOVE, removal(viewer))
        await eventually("bob is gone", lambda: view.get(f"acme.{viewer.member_id}") is None)
        await view.stop()


async def test_the_wrong_person_does_not_use_an_invitation_up(operator: Operator) -> None:
    made, digest = await invite(operator, "ann")
    unverified = person("ann").model_copy(update={"email_verified": False})
    for who in (person("eve"), unverified):
        code, _ = await refusal(operator, INVITATION_ACCEPT, AcceptInvitation(digest=digest, person=who))
        assert code is ErrorCode.INVALID
    unknown = AcceptInvitation(digest=new_digest(), person=person("ann"))
    assert (await refusal(operator, INVITATION_ACCEPT, unknown))[0] is ErrorCode.NOT_FOUND
    again = CreateInvitation(
        tenant="acme", actor_role=OPERATOR, email="ANN@example.com", role=VIEWER, digest=new_digest()
    )
    assert made.invitation_id in (await refusal(operator, INVITATION_CREATE, again))[1]
    revoke = RevokeInvitation(tenant="acme", actor_role=OPERATOR, invitation_id=made.invitation_id)
    revoked = await operator.ask(INVITATION_REVOKE, revoke)
    assert await operator.ask(INVITATION_REVOKE, revoke) == revoked
    code, message = await refusal(operator, INVITATION_ACCEPT, AcceptInvitation(digest=digest, person=person("ann")))
    assert (code, "revoked" in message) == (ErrorCode.CONFLICT, True)
    assert (await operator.ask(INVITATION_CREATE, again)).email == "ann@example.com"


async def test_an_expired_invitation_is_refused_and_forgotten_later(operator: Operator, engine: AsyncEngine) -> None:
    made, digest = await invite(operator, "ann")
    long_ago = datetime.now(UTC) - timedelta(days=91)
    async with engine.begin() as connection:
        values = {"created_at": long_ago - timedelta(days=1), "expires_at": long_ago}
        await connection.execute(update(invitations_table).values(**values))
    code, message = await refusal(operator, INVITATION_ACCEPT, AcceptInvitation(digest=digest, person=person("ann")))
    assert (code, "expired" in message) == (ErrorCode.CONFLICT, True)
    other, _ = await invite(operator, "bob")
    listed = (await operator.ask(INVITATION_LIST, ListInvitations(tenant="acme"))).invitations
    assert [each.invitation_id for each in listed] == [other.invitation_id] != [made.invitation_id]


async def test_one_code_makes_one_member_even_at_the_same_time(operator: Operator) -> None:
    _, digest = await invite(operator, "ann")
    same = [person("ann").model_copy(update={"user_id": f"usr_{number}"}) for number in range(6)]
    answers = await asyncio.gather(
        *(operator.ask(INVITATION_ACCEPT, AcceptInvitation(digest=digest, person=who)) for who in same),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Member) for answer in answers) == 1
    assert len((await operator.ask(MEMBER_LIST, ListMembers(tenant="acme"))).members) == 1


async def test_two_owners_cannot_remove_each_other_at_once(operator: Operator) -> None:
    ann, bob = await join(operator, "ann", OWNER), await join(operator, "bob", OWNER)
    answers = await asyncio.gather(
        operator.ask(MEMBER_REMOVE, removal(ann, actor_role=OWNER, actor_member=bob.member_id)),
        operator.ask(MEMBER_UPDATE, change(bob, role=VIEWER, actor_role=OWNER, actor_member=ann.member_id)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, Refused) for answer in answers) == 1
    left = (await operator.ask(MEMBER_LIST, ListMembers(tenant="acme"))).members
    assert sum(member.role is OWNER for member in left) == 1


async def test_who_was_demoted_acts_in_the_new_role_at_once(operator: Operator) -> None:
    ann, bob = await join(operator, "ann", OWNER), await join(operator, "bob", ADMIN)
    by_bob = {"actor_role": ADMIN, "actor_member": bob.member_id, "actor": "member:bob"}
    assert (await refusal(operator, MEMBER_UPDATE, change(bob, role=OWNER, **by_bob)))[0] is ErrorCode.INVALID
    made, digest = await invite(operator, "mallory", ADMIN, **by_bob)
    await operator.ask(MEMBER_UPDATE, change(bob, role=VIEWER))
    _, message = await refusal(operator, MEMBER_UPDATE, change(ann, name="x", **by_bob))
    assert "viewer" in message
    removed = await operator.ask(MEMBER_REMOVE, removal(bob))
    assert removed.client_token_count == 0
    assert (await refusal(operator, MEMBER_UPDATE, change(ann, name="x", **by_bob)))[0] is ErrorCode.INVALID
    # The way back that bob had left open is closed.
    code, message = await refusal(
        operator, INVITATION_ACCEPT, AcceptInvitation(digest=digest, person=person("mallory"))
    )
    assert (code, "revoked" in message, made.role) == (ErrorCode.CONFLICT, True, ADMIN)


async def test_removing_a_member_shows_or_revokes_their_client_tokens(operator: Operator) -> None:
    ann, bob = await join(operator, "ann"), await join(operator, "bob")
    for owner in (ann, bob):
        command = CreateClientToken(
            tenant="acme", label="laptop", digest=new_digest(), last4="abcd", member=owner.member_id
        )
        await operator.ask(TOKEN_CREATE, command)
    left = await operator.ask(MEMBER_REMOVE, removal(ann))
    assert (left.client_token_count, left.revoked, [token.member for token in left.client_tokens]) == (
        1,
        False,
        [ann.member_id],
    )
    gone = await operator.ask(MEMBER_REMOVE, removal(bob, revoke_tokens=True))
    assert (gone.client_token_count, gone.revoked) == (1, True)
    tokens = (await operator.ask(TOKEN_LIST, ListClientTokens(tenant="acme"))).tokens
    assert [(token.member, token.revoked_at is not None) for token in tokens] == [
        (ann.member_id, False),
        (bob.member_id, True),
    ]


async def test_teams(operator: Operator) -> None:
    ann = await join(operator, "ann")
    base = {"tenant": "acme", "actor_role": OPERATOR}
    made = await operator.ask(
        TEAM_CREATE, CreateTeam.model_validate(base | {"team": "sales", "members": [ann.member_id]})
    )
    assert (await operator.ask(TEAM_LIST, ListTeams(tenant="acme"))).teams == [made]
    assert (await operator.ask(MEMBER_GET, GetMember(tenant="acme", member_id=ann.member_id))).teams == ["sales"]
    await operator.ask(TEAM_CREATE, CreateTeam.model_validate(base | {"team": "ops"}))
    moved = await operator.ask(MEMBER_UPDATE, change(ann, teams=["ops"]))
    assert moved.teams == ["ops"]
    changed = await operator.ask(
        TEAM_UPDATE, UpdateTeam.model_validate(base | {"team": "sales", "name": "Sales", "add": [ann.member_id]})
    )
    assert (changed.name, changed.members) == ("Sales", [ann.member_id])
    stranger = UpdateTeam.model_validate(base | {"team": "ops", "add": ["mem_stranger"]})
    assert (await refusal(operator, TEAM_UPDATE, stranger))[0] is ErrorCode.NOT_FOUND
    token = CreateClientToken(tenant="acme", label="ci", digest=new_digest(), last4="abcd", team="sales")
    await operator.ask(TOKEN_CREATE, token)
    remove = RemoveTeam.model_validate(base | {"team": "sales"})
    code, message = await refusal(operator, TEAM_REMOVE, remove)
    assert (code, "1 client tokens" in message) == (ErrorCode.CONFLICT, True)
    removed = await operator.ask(TEAM_REMOVE, remove.model_copy(update={"force": True}))
    assert (removed.client_token_count, removed.team.name) == (1, "Sales")
    assert (await operator.ask(MEMBER_GET, GetMember(tenant="acme", member_id=ann.member_id))).teams == ["ops"]


async def test_a_new_token_names_a_team_and_a_member_that_are_there_once_there_are_any(operator: Operator) -> None:
    def command(**owner: str) -> CreateClientToken:
        values = {"tenant": "acme", "label": "ci", "digest": new_digest(), "last4": "abcd"}
        return CreateClientToken.model_validate(values | owner)

    for free in ({"team": "sales"}, {"member": "alice"}):
        await operator.ask(TOKEN_CREATE, command(**free))
    ann = await join(operator, "ann")
    await operator.ask(TEAM_CREATE, CreateTeam(tenant="acme", actor_role=OPERATOR, team="ops"))
    for unknown in ({"team": "sales"}, {"member": "alice"}):
        assert (await refusal(operator, TOKEN_CREATE, command(**unknown)))[0] is ErrorCode.NOT_FOUND
    made = await operator.ask(TOKEN_CREATE, command(team="ops", member=ann.member_id))
    assert (made.team, made.member) == ("ops", ann.member_id)


async def test_ids_of_another_tenant_answer_like_ids_that_do_not_exist(operator: Operator) -> None:
    ann = await join(operator, "ann")
    made, _ = await invite(operator, "bob")
    await operator.ask(TEAM_CREATE, CreateTeam(tenant="acme", actor_role=OPERATOR, team="sales"))

    def questions(member_id: str, invitation_id: str, team: str) -> list[tuple[AnySubject, Message]]:
        base = {"tenant": "globex", "actor_role": OPERATOR}
        return [
            (MEMBER_GET, GetMember(tenant="globex", member_id=member_id)),
            (MEMBER_UPDATE, UpdateMember.model_validate(base | {"member_id": member_id, "name": "x"})),
            (MEMBER_REMOVE, RemoveMember.model_validate(base | {"member_id": member_id})),
            (INVITATION_REVOKE, RevokeInvitation.model_validate(base | {"invitation_id": invitation_id})),
            (TEAM_LIST, ListTeams(tenant="globex", team=team)),
            (TEAM_UPDATE, UpdateTeam.model_validate(base | {"team": team, "name": "x"})),
            (TEAM_REMOVE, RemoveTeam.model_validate(base | {"team": team})),
            (TEAM_CREATE, CreateTeam.model_validate(base | {"team": "t", "members": [member_id]})),
        ]

    foreign = questions(ann.member_id, made.invitation_id, "sales")
    nowhere = questions("mem_nobody", "inv_nothing", "nosuch")
    for (subject, question), (_, other) in zip(foreign, nowhere, strict=True):
        code, message = await refusal(operator, subject, question)
        expected = await refusal(operator, subject, other)
        for real, absent in ((ann.member_id, "mem_nobody"), (made.invitation_id, "inv_nothing"), ("sales", "nosuch")):
            message = message.replace(real, absent)
        assert (code, message) == expected


async def claim(connection: AsyncConnection, user: str, role: AccessRole, **fields: str | None) -> Member:
    values = {"email": f"{user}@Example.com", "name": user.title()} | fields
    return await apply_claims(
        connection,
        tenant="acme",
        user_id=f"usr_{user}",
        email=values["email"],
        name=values["name"],
        role=role,
        now=datetime.now(UTC),
    )


async def test_claims_make_and_change_members(operator: Operator, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        ann = await claim(connection, "ann", OWNER)
        bob = await claim(connection, "bob", VIEWER, email="no address", name="B\x00b\u202e")
    assert (ann.email, ann.role, ann.source) == ("ann@example.com", OWNER, MemberSource.CLAIMS)
    assert bob.email is None
    async with engine.begin() as connection:
        kept = await claim(connection, "ann", VIEWER)
        raised = await claim(connection, "bob", OWNER)
    assert (kept.role, raised.role, raised.member_id) == (OWNER, OWNER, bob.member_id)
    async with engine.begin() as connection:
        assert (await claim(connection, "ann", VIEWER)).role is VIEWER
    suspended = await operator.ask(MEMBER_UPDATE, change(ann, state=MemberState.SUSPENDED))
    async with engine.begin() as connection:
        assert (await claim(connection, "ann", ADMIN)).state is MemberState.SUSPENDED
        await note_sign_in(connection, "usr_bob", datetime.now(UTC))
        (found,) = await memberships_of(connection, "usr_bob")
    assert (found.member_id, suspended.role) == (bob.member_id, VIEWER)
    assert found.last_signed_in_at is not None
    assert raised.last_signed_in_at is not None
    assert found.last_signed_in_at > raised.last_signed_in_at
    await operator.ask(TENANT_UPDATE, UpdateTenant(tenant="acme", suspended=True))
    async with engine.connect() as connection:
        with pytest.raises(RuleViolation, match="suspended"):
            await claim(connection, "carl", VIEWER)


async def test_sessions_end_in_the_same_transaction(operator: Operator, engine: AsyncEngine) -> None:
    ann, bob = await join(operator, "ann"), await join(operator, "bob")
    ended: list[tuple[str, str]] = []

    async def end_sessions(connection: AsyncConnection, tenant: str, user_id: str) -> None:
        assert connection.in_transaction()
        ended.append((tenant, user_id))
        if user_id == "usr_bob":
            raise RuntimeError("sessions cannot be ended")

    store = MemberStore(engine, end_sessions)
    now = datetime.now(UTC)
    await store.update_member(change(ann, state=MemberState.SUSPENDED), now)
    await store.update_member(change(ann, name="Ann again"), now)
    await store.remove_member(removal(ann), now)
    with pytest.raises(RuntimeError):
        await store.remove_member(removal(bob), now)
    assert ended == [("acme", "usr_ann"), ("acme", "usr_ann"), ("acme", "usr_bob")]
    assert [member.member_id for member in await store.list_members("acme")] == [bob.member_id]
