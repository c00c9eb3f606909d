"""Starts sessions: mints the token, and has the directory store its digest and who it belongs to."""

from dataclasses import dataclass
from datetime import UTC, datetime

from keyferry.contracts import session_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.sessions import BUILT_IN_ISSUER, ClaimedMembership, Session, SessionChannel, StartSession
from keyferry.contracts.sign_in_code import SignInClaims
from keyferry.contracts.sign_in_management import SESSION_START
from services.console.service_client import ServiceClient
from services.console.sign_in.claims import ClaimedIdentity


@dataclass(frozen=True, slots=True)
class StartedSession:
    """A new session, and its token, which is shown to its owner alone."""

    session: Session
    token: Secret


class SessionStarter:
    """Starts sessions of the configured length. Both methods raise HttpProblem."""

    def __init__(self, services: ServiceClient, *, idle_seconds: int, max_seconds: int) -> None:
        self._services = services
        self._idle_seconds = idle_seconds
        self._max_seconds = max_seconds

    async def from_identity(
        self, identity: ClaimedIdentity, issuer: str, channel: SessionChannel, replaces: str | None
    ) -> StartedSession:
        """Start a session for somebody whom the identity provider has authenticated."""
        token = session_token.mint()
        moment = None if identity.auth_time is None else datetime.fromtimestamp(identity.auth_time, UTC)
        command = StartSession(
            digest=session_token.digest(token.reveal()),
            issuer=issuer,
            subject=identity.subject,
            name=identity.name,
            email=identity.email,
            operator=identity.operator,
            memberships=list(identity.memberships) if identity.says_memberships else None,
            tier=identity.tier,
            channel=channel,
            idle_seconds=self._idle_seconds,
            max_seconds=self._max_seconds,
            acr=identity.acr,
            amr=list(identity.amr),
            auth_time=moment,
            replaces=replaces,
        )
        return StartedSession(await self._services.change(SESSION_START, command), token)

    async def from_code(
        self, claims: SignInClaims, code_digest: str, channel: SessionChannel, replaces: str | None, now: datetime
    ) -> StartedSession:
        """Start a session for somebody who has a code of the built-in login."""
        token = session_token.mint()
        named = claims.tenant is not None and claims.role is not None
        command = StartSession(
            digest=session_token.digest(token.reveal()),
            issuer=BUILT_IN_ISSUER,
            subject=claims.email.lower(),
            name=claims.name,
            email=claims.email.lower(),
            operator=claims.operator,
            memberships=[ClaimedMembership.model_validate({"tenant": claims.tenant, "role": claims.role})]
            if named
            else None,
            channel=channel,
            idle_seconds=self._idle_seconds,
            max_seconds=self._max_seconds,
            auth_time=now,
            replaces=replaces,
            code_digest=code_digest,
            code_expires_at=datetime.fromtimestamp(claims.expires_at, UTC),
        )
        return StartedSession(await self._services.change(SESSION_START, command), token)
