"""Routes about the sender of a request: the session, its tenant, the other sessions, and invitations."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from keyferry.contracts import invitation_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.ids import TenantId
from keyferry.contracts.membership import AcceptInvitation, EmailAddress, Member, SignedInPerson
from keyferry.contracts.membership_management import INVITATION_ACCEPT
from keyferry.contracts.sessions import ChooseTenant, EndSession, ListSessions, Session, SessionChannel
from keyferry.contracts.sign_in_management import SESSION_CHOOSE, SESSION_END, SESSION_LIST
from keyferry.contracts.tenancy import GetTenant, Label
from keyferry.contracts.text import Refusing
from keyferry.contracts.topology import TENANT_GET
from keyferry.runtime.http.problem import HttpProblem
from services.console.access import RouteSpec
from services.console.authentication import OwnSession, Principal
from services.console.bodies import Body
from services.console.problem import not_found
from services.console.service_client import ServiceClient
from services.console.sign_in.csrf import csrf_token
from services.console.tenant_context import CurrentPrincipal, unknown_tenant

_EMAIL: TypeAdapter[str] = TypeAdapter(EmailAddress)
_NAME: TypeAdapter[str] = TypeAdapter(Label)
_MOST_NAMES = 100
_NAME_SECONDS = 1.0
"""Pages show a tenant's id where its name is not known."""
SESSION_ID_PATTERN = r"^ses_[0-9a-v]{26}$"
NamedSession = Annotated[str, InPath(pattern=SESSION_ID_PATTERN, description="A session's id, as the list shows it")]


class MembershipView(BaseModel):
    """A tenant that the sender may act for."""

    tenant: str
    name: str | None = None
    """Its display name; null while the tenant directory does not answer."""
    role: AccessRole
    member_id: str


class SessionView(BaseModel):
    """A session, without what could be used to act in it."""

    session_id: str
    channel: SessionChannel
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    current: bool
    """Whether it is the one of this request."""


class SenderView(BaseModel):
    """Who the sender of a request is, and what it may act for."""

    actor: str
    name: str | None
    email: str | None
    operator: bool
    """Whether the sender operates the installation."""
    tenant: str | None
    """The tenant that requests act for; null if there is none, or if one has to be chosen."""
    role: AccessRole | None
    memberships: Sequence[MembershipView]
    session: SessionView | None
    """Null for a program and for the operator's token."""
    csrf_token: str | None
    """For the header x-csrf-token, which a request that changes something needs besides the cookie."""
    step_up_required: bool
    """Whether changes of provider keys need another sign-in: /auth/login?step_up=1."""


class SessionList(BaseModel):
    """The sender's sessions, oldest first."""

    data: Sequence[SessionView]


class ChooseTenantBody(Body):
    """The tenant that the session acts for from now on; null for no choice."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tenant": "acme"}]})

    tenant: TenantId | None


class InvitationBody(Body):
    """The code of an invitation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": f"kfi_{'0' * 46}"}]})

    code: Annotated[str, Refusing(100, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces")]


class SessionRoutes:
    """The routes under `/session` and `/sessions`, for the sender alone."""

    def __init__(self, services: ServiceClient) -> None:
        self._services = services

    def specs(self) -> tuple[RouteSpec, ...]:
        """Return the routes."""
        return (
            RouteSpec("GET", "/session", "get_session", self.show),
            RouteSpec("PUT", "/session", "choose_tenant", self.choose),
            RouteSpec("GET", "/sessions", "list_sessions", self.list_),
            RouteSpec("DELETE", "/sessions/{session_id}", "end_session", self.end, status=204),
            RouteSpec("POST", "/session/invitation", "accept_invitation", self.accept),
        )

    async def show(self, principal: CurrentPrincipal) -> SenderView:
        """Return who the sender is, what it may act for, and the CSRF token of its session."""
        return await self._sender(principal, None if principal.no_tenant else principal.tenant)

    async def choose(self, principal: CurrentPrincipal, body: ChooseTenantBody) -> SenderView:
        """Choose the tenant that this session acts for. The header x-keyferry-tenant goes before it."""
        login = _login(principal)
        if body.tenant is not None and body.tenant not in [member.tenant for member in login.memberships]:
            raise unknown_tenant()
        command = ChooseTenant(session_id=login.session.session_id, tenant=body.tenant)
        await self._services.change(SESSION_CHOOSE, command)
        return await self._sender(principal, body.tenant)

    async def list_(self, principal: CurrentPrincipal) -> SessionList:
        """List the sender's sessions, oldest first."""
        session = _login(principal).session
        found = await self._services.read(SESSION_LIST, ListSessions(user_id=session.user_id))
        return SessionList(data=[_view(one, session.session_id) for one in found.sessions])

    async def end(self, principal: CurrentPrincipal, session_id: NamedSession) -> None:
        """End one of the sender's sessions everywhere."""
        user_id = _login(principal).session.user_id
        command = EndSession(session_id=session_id, user_id=user_id, actor=principal.actor)
        await self._services.change(SESSION_END, command)

    async def accept(self, principal: CurrentPrincipal, body: InvitationBody) -> MembershipView:
        """Become a member of the tenant that has invited the sender's verified address."""
        session = _login(principal).session
        if not invitation_code.is_well_formed(body.code):
            raise not_found("there is no such invitation: was its code copied completely?")
        email = _valid(_EMAIL, session.email)
        person = SignedInPerson(
            user_id=session.user_id, email=email, email_verified=email is not None, name=_valid(_NAME, session.name)
        )
        command = AcceptInvitation(digest=invitation_code.digest(body.code), person=person)
        member = await self._services.change(INVITATION_ACCEPT, command)
        return _membership(member, await self._name_of(member.tenant))

    async def _sender(self, principal: Principal, tenant: str | None) -> SenderView:
        login = principal.login
        tenants = [member.tenant for member in login.memberships[:_MOST_NAMES]] if login else []
        names = await asyncio.gather(*(self._name_of(each) for each in tenants))
        return _sender(principal, tenant, dict(zip(tenants, names, strict=True)))

    async def _name_of(self, tenant: str) -> str | None:
        """Return the display name of a tenant; None while the directory does not answer."""
        try:
            found = await self._services.read(TENANT_GET, GetTenant(tenant=tenant), timeout_seconds=_NAME_SECONDS)
        except HttpProblem:
            return None
        return found.name


def _login(principal: Principal) -> OwnSession:
    """Return the sender's session. Raises HttpProblem 403 for a program, and for the operator's token."""
    if principal.login is None:
        message = "this is for somebody who has signed in: your credential is no session"
        raise HttpProblem(403, "permission_error", "not_allowed", message)
    return principal.login


def _sender(principal: Principal, tenant: str | None, names: Mapping[str, str | None]) -> SenderView:
    login = principal.login
    members = login.memberships if login else ()
    role = next((member.role for member in members if member.tenant == tenant), principal.role)
    return SenderView(
        actor=principal.actor,
        name=login.session.name if login else None,
        email=login.session.email if login else None,
        operator=principal.operates,
        tenant=tenant,
        role=role if tenant is not None else None,
        memberships=[_membership(member, names.get(member.tenant)) for member in members],
        session=_view(login.session, login.session.session_id) if login else None,
        csrf_token=csrf_token(login.token) if login else None,
        step_up_required=principal.step_up is not None,
    )


def _valid(adapter: TypeAdapter[str], text: str | None) -> str | None:
    """Return a text of a session as a member has it; None where members have none like it, such as an address with umlauts."""
    try:
        return None if text is None else adapter.validate_python(text)
    except ValidationError:
        return None


def _membership(member: Member, name: str | None) -> MembershipView:
    return MembershipView(tenant=member.tenant, name=name, role=member.role, member_id=member.member_id)


def _view(session: Session, current: str) -> SessionView:
    return SessionView(
        session_id=session.session_id,
        channel=session.channel,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.expires_at,
        current=session.session_id == current,
    )
