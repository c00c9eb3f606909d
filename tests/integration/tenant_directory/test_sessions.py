"""Sessions of people: started, used, ended, and followed by the console."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from keyferry.contracts import session_token
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.audit import AuditEvent
from keyferry.contracts.membership import ListMembers, Member, MemberState, SignOutMember, UpdateMember
from keyferry.contracts.membership_management import MEMBER_LIST, MEMBER_SIGN_OUT, MEMBER_UPDATE
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.sessions import (
    ChooseTenant,
    ClaimedMembership,
    EndSession,
    ListSessions,
    SeenSession,
    Session,
    SessionChannel,
    StartSession,
    TouchSessions,
)
from keyferry.contracts.sign_in_management import (
    SESSION_CHOOSE,
    SESSION_END,
    SESSION_LIST,
    SESSION_START,
    SESSION_TOUCH,
    SESSIONS_VIEW,
)
from keyferry.contracts.tenancy import GetTenant, Tier
from keyferry.contracts.topology import AUDIT_RECORDED, TENANT_GET, Role
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import KvView
from services.tenant_directory.sessions import MAX_SESSIONS_PER_USER
from tests.integration.permissions.watcher import watching
from tests.integration.tenant_directory.processes import DirectoryServers, Operator
from tests.support.waiting import eventually


@pytest.fixture
async def operator(servers: DirectoryServers) -> AsyncIterator[Operator]:
    async with servers.process(), servers.operator() as operator:
        await operator.create_tenant("acme")
        yield operator


def command(subject: str = "ada", **changes: Any) -> StartSession:
    values: dict[str, Any] = {
        "digest": secrets.token_hex(32),
        "issuer": "https://id.example.com",
        "subject": subject,
        "name": subject.title(),
        "email": f"{subject}@example.com",
        "memberships": [ClaimedMembership(tenant="acme", role=AccessRole.OWNER)],
        "channel": SessionChannel.BROWSER,
        "idle_seconds": 3600,
        "max_seconds": 86400,
    }
    return StartSession(**(values | changes))


async def refused(operator: Operator, subject: Any, question: Any) -> tuple[ErrorCode, str]:
    with pytest.raises(Refused) as caught:
        await operator.ask(subject, question)
    return caught.value.refusal.code, caught.value.refusal.message


def decoded(messages: list[bytes]) -> list[AuditEvent]:
    return [AuditEvent.decode(data) for data in messages]


def acme_member(role: AccessRole) -> ClaimedMembership:
    return ClaimedMembership(tenant="acme", role=role)


async def list_members(operator: Operator, tenant: str) -> list[Member]:
    return (await operator.ask(MEMBER_LIST, ListMembers(tenant=tenant))).members


async def members_of(operator: Operator, tenant: str) -> list[str | None]:
    return [member.user_id for member in await list_members(operator, tenant)]


async def sessions_of(operator: Operator, user_id: str) -> list[Session]:
    return (await operator.ask(SESSION_LIST, ListSessions(user_id=user_id))).sessions


async def test_the_console_follows_sessions_until_they_end(servers: DirectoryServers, operator: Operator) -> None:
    asked = command(acr="2", amr=["pwd", "otp"], auth_time=datetime.now(UTC))
    async with servers.bus.connected(Role.CONSOLE) as bus, watching(servers.bus) as watcher:
        view = KvView(bus, SESSIONS_VIEW)
        await view.start()
        session = await operator.ask(SESSION_START, asked)
        await eventually("it is in the view", lambda: view.get(asked.digest) == session)
        assert (session.acr, session.amr, session.tenant) == ("2", ["pwd", "otp"], "acme")
        assert session.expires_at - session.created_at == timedelta(days=1)
        await operator.ask(
            SESSION_END, EndSession(session_id=session.session_id, user_id=session.user_id, actor="user:ada")
        )
        await eventually("it has left the view", lambda: view.get(asked.digest) is None)
        await view.stop()
        subject = AUDIT_RECORDED.format(service=Role.TENANT_DIRECTORY.value)
        await eventually("all is audited", lambda: len(watcher.received[subject]) >= 3)
        events = decoded(watcher.received[subject])[-2:]
    assert [(event.action, event.actor, event.tenant, event.target) for event in events] == [
        ("session.start", session.user_id, "acme", session.session_id),
        ("session.end", "user:ada", "acme", session.session_id),
    ]


async def test_somebody_is_recognised_by_issuer_and_subject_alone(operator: Operator) -> None:
    first = await operator.ask(SESSION_START, command())
    renamed = await operator.ask(SESSION_START, command(name="Countess", email="other@example.com"))
    assert renamed.user_id == first.user_id
    for changes in ({"issuer": "https://evil.example"}, {"subject": "eve", "email": "ada@example.com"}):
        other = await operator.ask(SESSION_START, command(**changes))
        assert other.user_id != first.user_id
    assert [one.session_id for one in await sessions_of(operator, first.user_id)] == [
        first.session_id,
        renamed.session_id,
    ]


async def test_a_browser_has_one_session_and_a_person_a_bounded_number(operator: Operator) -> None:
    first = await operator.ask(SESSION_START, command())
    second = await operator.ask(SESSION_START, command(replaces=first.session_id))
    assert [one.session_id for one in await sessions_of(operator, first.user_id)] == [second.session_id]
    for _ in range(MAX_SESSIONS_PER_USER):
        last = await operator.ask(SESSION_START, command())
    kept = await sessions_of(operator, first.user_id)
    assert len(kept) == MAX_SESSIONS_PER_USER
    assert kept[-1].session_id == last.session_id
    assert second.session_id not in [one.session_id for one in kept]


async def test_a_code_is_exchanged_once(operator: Operator) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    code = secrets.token_hex(32)
    await operator.ask(SESSION_START, command(code_digest=code, code_expires_at=soon))
    again = await refused(operator, SESSION_START, command(code_digest=code, code_expires_at=soon))
    assert again == (ErrorCode.CONFLICT, "this code was used already: run `keyferry login` again for a new one")
    late = command(code_digest=secrets.token_hex(32), code_expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert (await refused(operator, SESSION_START, late))[0] is ErrorCode.INVALID
    same = command()
    await operator.ask(SESSION_START, same)
    assert (await refused(operator, SESSION_START, same))[0] is ErrorCode.CONFLICT, "a token has one session"


async def test_use_is_noted_and_never_goes_back(operator: Operator) -> None:
    session = await operator.ask(SESSION_START, command())
    later = session.last_seen_at + timedelta(minutes=3)
    for moment in (later, later - timedelta(minutes=2)):
        seen = [
            SeenSession(session_id=session.session_id, seen_at=moment),
            SeenSession(session_id="ses_x", seen_at=later),
        ]
        assert (await operator.ask(SESSION_TOUCH, TouchSessions(seen=seen))).sessions == 1
        assert (await sessions_of(operator, session.user_id))[0].last_seen_at == later


async def test_expired_and_idle_sessions_go_when_somebody_signs_in(
    operator: Operator, servers: DirectoryServers
) -> None:
    kept = await operator.ask(SESSION_START, command("kept"))
    idle = await operator.ask(SESSION_START, command("idle"))
    over = await operator.ask(SESSION_START, command("over"))
    url = make_url(servers.admin_url.reveal()).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        table = "UPDATE tenant_directory.sessions SET"
        connection.execute(
            f"{table} last_seen_at = now() - interval '2 hours' WHERE session_id = %s", [idle.session_id]
        )
        times = "created_at = now() - interval '2 days', expires_at = now() - interval '1 second'"
        connection.execute(f"{table} {times} WHERE session_id = %s", [over.session_id])
    await operator.ask(SESSION_START, command("new"))
    found = [bool(await sessions_of(operator, one.user_id)) for one in (kept, idle, over)]
    assert found == [True, False, False]


async def test_sessions_of_others_are_not_found(operator: Operator) -> None:
    session = await operator.ask(SESSION_START, command())
    other = await operator.ask(SESSION_START, command("eve"))
    wrong = EndSession(session_id=session.session_id, user_id=other.user_id, actor="user:eve")
    absent = EndSession(session_id="ses_nothing", user_id=other.user_id, actor="user:eve")
    assert await refused(operator, SESSION_END, wrong) == await refused(operator, SESSION_END, absent)
    assert len(await sessions_of(operator, session.user_id)) == 1


async def test_only_known_tenants_are_members_and_one_is_chosen(operator: Operator) -> None:
    await operator.create_tenant("other")
    named = [ClaimedMembership(tenant=name, role=AccessRole.VIEWER) for name in ("nobody", "acme", "platform", "other")]
    session = await operator.ask(SESSION_START, command(memberships=named))
    view = (await operator.ask(MEMBER_LIST, ListMembers(tenant="other"))).members
    assert [(member.user_id, member.role) for member in view] == [(session.user_id, AccessRole.VIEWER)]
    assert session.tenant is None
    chosen = await operator.ask(SESSION_CHOOSE, ChooseTenant(session_id=session.session_id, tenant="other"))
    assert chosen == session.model_copy(update={"tenant": "other"})
    unknown = ChooseTenant(session_id=session.session_id, tenant="nobody")
    assert (await refused(operator, SESSION_CHOOSE, unknown))[0] is ErrorCode.NOT_FOUND


@pytest.mark.parametrize(
    ("role", "tier"),
    [
        (AccessRole.OWNER, Tier.ENTERPRISE),
        (AccessRole.ADMIN, Tier.FREE),
        (AccessRole.DEVELOPER, Tier.STARTER),
        (AccessRole.VIEWER, Tier.STARTER),
    ],
)
async def test_the_plan_of_the_claims_applies_when_a_manager_signs_in(
    operator: Operator, servers: DirectoryServers, role: AccessRole, tier: Tier
) -> None:
    claimed = Tier.ENTERPRISE if tier is Tier.STARTER else tier
    async with watching(servers.bus) as watcher:
        member = [ClaimedMembership(tenant="acme", role=role)]
        for _ in range(2):
            session = await operator.ask(SESSION_START, command(memberships=member, tier=claimed))
        assert (await operator.ask(TENANT_GET, GetTenant(tenant="acme"))).tier is tier
        subject = AUDIT_RECORDED.format(service=Role.TENANT_DIRECTORY.value)
        ended = EndSession(session_id=session.session_id, user_id=session.user_id, actor="last")
        await operator.ask(SESSION_END, ended)
        await eventually(
            "everything is audited", lambda: any(event.actor == "last" for event in decoded(watcher.received[subject]))
        )
        changes = [event for event in decoded(watcher.received[subject]) if event.action == "tenant.update"]
    details = {"tier": f"starter → {tier.value}", "tier_set_by": "not set → operator"}
    expected = [] if tier is Tier.STARTER else [(session.user_id, details)]
    assert [(event.actor, event.details) for event in changes] == expected


async def test_memberships_of_claims_follow_the_claims(operator: Operator) -> None:
    await operator.create_tenant("other")
    both = [ClaimedMembership(tenant=name, role=AccessRole.ADMIN) for name in ("acme", "other")]
    session = await operator.ask(SESSION_START, command(memberships=both))
    await operator.ask(SESSION_START, command(memberships=None))
    assert await members_of(operator, "acme") == await members_of(operator, "other") == [session.user_id]
    await operator.ask(SESSION_START, command(memberships=both[1:]))
    assert (await members_of(operator, "acme"), await members_of(operator, "other")) == ([], [session.user_id])
    await operator.ask(SESSION_START, command(memberships=[ClaimedMembership(tenant="other", role=AccessRole.OWNER)]))
    await operator.ask(SESSION_START, command(memberships=[]))
    assert await members_of(operator, "other") == [session.user_id], "a tenant keeps its last owner"


async def test_a_suspended_member_is_signed_out(operator: Operator) -> None:
    await operator.ask(SESSION_START, command("owner"))
    session = await operator.ask(SESSION_START, command(memberships=[acme_member(AccessRole.DEVELOPER)]))
    member = next(one for one in await list_members(operator, "acme") if one.user_id == session.user_id)
    suspend = UpdateMember(
        tenant="acme",
        member_id=member.member_id,
        state=MemberState.SUSPENDED,
        actor_role=AccessRole.OPERATOR,
    )
    await operator.ask(MEMBER_UPDATE, suspend)
    assert await sessions_of(operator, session.user_id) == []
    again = await operator.ask(SESSION_START, command(memberships=[acme_member(AccessRole.DEVELOPER)]))
    assert again.tenant is None, "signing in again does not end the suspension"


async def test_the_database_and_the_view_never_hold_a_usable_token(
    operator: Operator, servers: DirectoryServers
) -> None:
    token = session_token.mint().reveal()
    await operator.ask(SESSION_START, command(digest=session_token.digest(token)))
    url = make_url(servers.admin_url.reveal()).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        rows = str(connection.execute("SELECT s::text FROM tenant_directory.sessions s").fetchall())
    assert session_token.digest(token) in rows
    assert token[4:20] not in rows


async def test_who_manages_people_signs_a_member_out(servers: DirectoryServers, operator: Operator) -> None:
    """The sessions leave the view, others stay, and nobody reaches somebody above their own role."""
    roles = {"ann": AccessRole.OWNER, "bob": AccessRole.ADMIN, "eve": AccessRole.VIEWER}
    starts = [command(name, memberships=[acme_member(role)]) for name, role in roles.items()]
    starts += [command("eve", memberships=[acme_member(AccessRole.VIEWER)])]
    starts += [command("root", memberships=[acme_member(AccessRole.VIEWER)], operator=True)]
    users = {start.subject: (await operator.ask(SESSION_START, start)).user_id for start in starts}
    listed = (await operator.ask(MEMBER_LIST, ListMembers(tenant="acme"))).members
    ids = {name: member.member_id for name, user in users.items() for member in listed if member.user_id == user}

    def sign_out(who: str, by: str | None) -> SignOutMember:
        role = roles[by] if by else AccessRole.OPERATOR
        return SignOutMember(
            tenant="acme",
            actor=users[by] if by else "operator",
            actor_role=role,
            actor_member=ids[by] if by else None,
            member_id=ids[who],
        )

    for who, by in (("ann", "bob"), ("ann", "eve"), ("eve", "eve"), ("root", "ann")):
        assert (await refused(operator, MEMBER_SIGN_OUT, sign_out(who, by)))[0] is ErrorCode.INVALID, (who, by)
    for name in users:
        assert (await operator.ask(SESSION_LIST, ListSessions(user_id=users[name]))).sessions, name
    async with servers.bus.connected(Role.CONSOLE) as console, watching(servers.bus) as watcher:
        view = KvView(console, SESSIONS_VIEW)
        await view.start()
        digests = {start.digest for start in starts if start.subject == "eve"}
        await eventually("the sessions are known", lambda: all(view.get(digest) for digest in digests))
        assert (await operator.ask(MEMBER_SIGN_OUT, sign_out("eve", "bob"))).sessions == 2
        await eventually("the sessions have ended", lambda: not any(view.get(digest) for digest in digests))
        assert all(view.get(start.digest) for start in starts if start.subject != "eve")
        await view.stop()
        subject = AUDIT_RECORDED.format(service=Role.TENANT_DIRECTORY.value)

        def audited() -> list[tuple[str, str, dict[str, str]]]:
            events = [event for event in decoded(watcher.received[subject]) if event.action == "member.sign_out"]
            return [(event.actor, event.target, dict(event.details)) for event in events]

        entry = (users["bob"], ids["eve"], {"sessions": "2"})
        await eventually("it is audited", lambda: audited() == [entry])
    assert (await operator.ask(MEMBER_SIGN_OUT, sign_out("eve", "bob"))).sessions == 0
    assert (await operator.ask(MEMBER_SIGN_OUT, sign_out("root", None))).sessions == 1
