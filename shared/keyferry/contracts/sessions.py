"""People who have signed in, and their sessions. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.membership import TenantRole
from keyferry.contracts.tenancy import Digest, Tier
from keyferry.contracts.text import Count, Identifier, Moment, Refusing

BUILT_IN_ISSUER = "keyferry:built-in"
"""In place of an identity provider's name: somebody who can read the login key of the installation says who somebody is."""
MAX_MEMBERSHIPS = 64

Issuer = Annotated[str, Refusing(2000, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces")]
SubjectName = Annotated[str, Refusing(255)]
"""Who somebody is at the issuer, for ever."""
PersonName = Annotated[str, Refusing(100, visible=True)]
Email = Annotated[
    str, Refusing(254, pattern=r"^[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+$", form="an address with one @")
]
Method = Annotated[str, Refusing(200)]
"""A class or method of authentication (`acr`, `amr`)."""


class SessionChannel(StrEnum):
    """How a session was started."""

    BROWSER = "browser"
    DEVICE = "device"
    """By the command line, through the device flow of the identity provider."""
    CODE = "code"
    """With a code of the built-in login."""


class ClaimedMembership(Message):
    """A tenant that an identity provider names for somebody, and the role there."""

    tenant: TenantId
    role: TenantRole


class Session(Message):
    """Somebody who has signed in. The token itself is known only to the browser or the command line."""

    session_id: Identifier
    user_id: Identifier
    name: PersonName
    email: Email | None = None
    operator: bool = False
    """Whether the person operates the installation."""
    tenant: TenantId | None = None
    """The tenant that the person has chosen for this session."""
    channel: SessionChannel
    created_at: Moment
    expires_at: Moment
    """The absolute end, however much the session is used."""
    idle_seconds: Count
    """How long it lives without a request."""
    last_seen_at: Moment
    acr: Method | None = None
    """The class of authentication that the identity provider reports."""
    amr: list[Method] = Field(default_factory=list, max_length=16)
    auth_time: Moment | None = None
    """When the person last proved who they are; None if the identity provider does not say."""


class StartSession(Command):
    """Start a session for somebody whose identity has been verified."""

    digest: Digest
    """The SHA-256 of the session token, which travels nowhere but to its owner."""
    issuer: Issuer
    subject: SubjectName
    name: PersonName
    email: Email | None = None
    operator: bool = False
    memberships: list[ClaimedMembership] | None = Field(default=None, max_length=MAX_MEMBERSHIPS)
    """What the person is a member of, as the identity provider says; None if it says nothing of memberships."""
    tier: Tier | None = None
    """The plan that the identity provider reports; it applies to the tenants of which the person is an owner or admin."""
    channel: SessionChannel
    idle_seconds: Count
    max_seconds: Count
    acr: Method | None = None
    amr: list[Method] = Field(default_factory=list, max_length=16)
    auth_time: Moment | None = None
    replaces: Identifier | None = None
    """The session that the same browser had until now, which ends."""
    code_digest: Digest | None = None
    """The SHA-256 of the code that was exchanged for this session: it is accepted once."""
    code_expires_at: Moment | None = None


class SeenSession(Message):
    """When a session was last used."""

    session_id: Identifier
    seen_at: Moment


class TouchSessions(Command):
    """Report which sessions were used; what is older than what is known changes nothing."""

    seen: list[SeenSession] = Field(min_length=1, max_length=1000)


class SessionsTouched(Message):
    """How many sessions were still there."""

    sessions: Count


class ChooseTenant(Command):
    """Choose the tenant that a session acts for; None for no choice."""

    session_id: Identifier
    tenant: TenantId | None = None


class EndSession(Command):
    """End a session. Ending one that has ended changes nothing."""

    session_id: Identifier
    user_id: Identifier
    """Whose it is: a session of somebody else is not found."""
    actor: Actor
    """Who does it, for the audit."""


class SessionEnded(Message):
    """The answer to `EndSession`."""

    session_id: Identifier


class ListSessions(Command):
    """Request somebody's sessions."""

    user_id: Identifier


class Sessions(Message):
    """Somebody's sessions, oldest first."""

    sessions: list[Session]
