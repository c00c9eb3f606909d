"""Who a request is from: the operator's token, a session token, an access token of the identity provider, or a cookie."""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qs

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.own_credentials import SESSION_PREFIX
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.http.asgi import Scope, get_header
from keyferry.runtime.http.credential import read_credential
from keyferry.runtime.http.problem import CLOSE_CONNECTION, HttpProblem
from services.console.authentication import (
    InvalidCredential,
    OwnSession,
    Principal,
    choose_membership,
    identify,
    read_bearer,
)
from services.console.sign_in.claims import ClaimedIdentity, ClaimsMapping, read_identity
from services.console.sign_in.cookies import AmbiguousCookie, CookiePolicy, read_cookie
from services.console.sign_in.csrf import CSRF_HEADER, SAFE_METHODS, CrossSiteRequest, check_origin, check_token
from services.console.sign_in.identity_provider import IdentityProvider
from services.console.sign_in.provider_document import ProviderProblem
from services.console.sign_in.session_index import SessionIndex
from services.console.sign_in.step_up import StepUpPolicy
from services.console.sign_in.token_verification import InvalidToken, TokenPolicy, TokenUse

TENANT_HEADER = b"x-keyferry-tenant"
"""Names one of the client's own tenants."""
PROGRAM_PREFIX = "program:"
"""Begins the names of programs in the audit log."""
EVENTS_PATH = "/api/v1/events"
_CHOOSE = (
    "you are a member of several tenants: name one in the header x-keyferry-tenant, or choose one for the session with"
    " PUT /api/v1/session"
)
_NO_MEMBER = "you are a member of no tenant: ask an owner or an admin of one for an invitation"


class Authenticator:
    """Authenticates requests. A bearer credential wins over a cookie, which a browser adds by itself."""

    def __init__(
        self,
        *,
        operator_token: Secret,
        sessions: SessionIndex,
        cookies: CookiePolicy,
        own_origin: str,
        step_up: StepUpPolicy,
        clock: Callable[[], datetime],
        provider: IdentityProvider | None = None,
        audience: str = "",
        mapping: ClaimsMapping | None = None,
    ) -> None:
        self._operator_token = operator_token
        self._sessions = sessions
        self._cookies = cookies
        self._own_origin = own_origin
        self._step_up = step_up
        self._clock = clock
        self._provider = provider
        self._audience = audience
        self._mapping = mapping or ClaimsMapping()

    async def __call__(self, scope: Scope) -> Principal:
        """Return who a request is from. Raises InvalidCredential, ConflictingCredentials, and HttpProblem 403 and 503."""
        return await self._identify(scope, used=True)

    async def recheck(self, scope: Scope) -> Principal:
        """Return who a request is from that is still being answered, as `__call__` does.

        That does not count as use of the session: a page that is left open must not keep it from ending.
        """
        return await self._identify(scope, used=False)

    async def _identify(self, scope: Scope, *, used: bool) -> Principal:
        authorization = read_credential(scope, key_headers=())
        if authorization is None:
            return self._by_cookie(scope, used=used)
        bearer = read_bearer(authorization)
        if bearer.startswith(SESSION_PREFIX):
            return self._person(self._sessions.find(bearer, used=used), scope)
        if self._provider is not None and bearer.count(".") == 2:
            return await self._program(self._provider, bearer, scope)
        return identify(authorization, self._operator_token)

    def _by_cookie(self, scope: Scope, *, used: bool) -> Principal:
        try:
            token = read_cookie(scope["headers"], self._cookies.session)
        except AmbiguousCookie as error:
            raise InvalidCredential(str(error)) from None
        if not token:
            return identify(None, self._operator_token)
        login = self._sessions.find(token, used=used)
        if scope["method"] not in SAFE_METHODS:
            try:
                check_origin(get_header(scope, b"origin"), get_header(scope, b"sec-fetch-site"), self._own_origin)
                check_token(get_header(scope, CSRF_HEADER), login.token)
            except CrossSiteRequest as error:
                raise HttpProblem(
                    403, "permission_error", "cross_site_request", str(error), headers=dict(CLOSE_CONNECTION)
                ) from None
        return self._person(login, scope)

    def _person(self, login: OwnSession, scope: Scope) -> Principal:
        """Return the principal of a session. The role is the one that the person has at this moment."""
        session, named = login.session, _named_tenant(scope)
        member = choose_membership(login.memberships, named, session.tenant)
        step_up = self._challenge(session.acr, session.amr, session.auth_time)
        if member is not None:
            return Principal(
                member.role,
                member.tenant,
                session.user_id,
                member.member_id,
                session.operator,
                login,
                suspended=self._sessions.is_suspended(member.tenant),
                step_up=step_up,
                teams=tuple(member.teams),
            )
        if session.operator and named is None:
            return Principal(AccessRole.OPERATOR, PLATFORM_TENANT, session.user_id, None, True, login, step_up=step_up)
        return Principal(
            AccessRole.VIEWER,
            "",
            session.user_id,
            operates=session.operator,
            login=login,
            no_tenant=_CHOOSE if login.memberships else _NO_MEMBER,
            unknown_tenant=named is not None,
            step_up=step_up,
        )

    async def _program(self, provider: IdentityProvider, token: str, scope: Scope) -> Principal:
        """Return the principal of an access token. Raises InvalidCredential, and HttpProblem 503 without the provider's keys."""
        try:
            policy = TokenPolicy(TokenUse.ACCESS, provider.issuer, self._audience)
            identity = read_identity(await provider.verify(token, policy), self._mapping)
        except InvalidToken as error:
            raise InvalidCredential(str(error)) from None
        except ProviderProblem as error:
            headers = {"retry-after": "5", **CLOSE_CONNECTION}
            raise HttpProblem(503, "overloaded_error", "unavailable", str(error), headers=headers) from None
        return self._by_claims(identity, _named_tenant(scope))

    def _by_claims(self, identity: ClaimedIdentity, named: str | None) -> Principal:
        actor = program_actor(identity.subject)
        moment = None if identity.auth_time is None else datetime.fromtimestamp(identity.auth_time, UTC)
        step_up = self._challenge(identity.acr, identity.amr, moment)
        roles: Mapping[str, AccessRole] = {claimed.tenant: claimed.role for claimed in identity.memberships}
        chosen = named if named is not None else (next(iter(roles)) if len(roles) == 1 else None)
        if chosen is not None and chosen in roles:
            suspended = self._sessions.is_suspended(chosen)
            return Principal(
                roles[chosen], chosen, actor, None, identity.operator, suspended=suspended, step_up=step_up
            )
        if identity.operator and named is None:
            return Principal(AccessRole.OPERATOR, PLATFORM_TENANT, actor, None, True, step_up=step_up)
        reason = _CHOOSE if roles else "the access token names no tenant and role that this installation knows"
        return Principal(
            AccessRole.VIEWER,
            "",
            actor,
            operates=identity.operator,
            no_tenant=reason,
            unknown_tenant=named is not None,
            step_up=step_up,
        )

    def _challenge(self, acr: str | None, amr: Collection[str], auth_time: datetime | None) -> str | None:
        if not self._step_up.required or self._step_up.is_met(acr, amr, auth_time, self._clock()):
            return None
        return self._step_up.challenge()


def _named_tenant(scope: Scope) -> str | None:
    """Return the tenant that a request names; for a stream of events, to which a browser adds no header, also in its URL."""
    named = get_header(scope, TENANT_HEADER)
    if named is not None or scope["path"] != EVENTS_PATH:
        return named
    given = parse_qs(scope["query_string"].decode("latin-1")).get("tenant")
    return given[0] if given else None


def program_actor(subject: str) -> str:
    """Return the name of a program in the audit log."""
    plain = "".join(character if "!" <= character <= "~" else "?" for character in subject)
    return f"{PROGRAM_PREFIX}{plain[:150]}"
