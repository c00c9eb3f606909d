"""The routes under /auth, by which people sign in and out: in a browser, and from the command line. They need no credential."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from keyferry.contracts import sign_in_code
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.sessions import EndSession, SessionChannel
from keyferry.contracts.sign_in_management import SESSION_END
from keyferry.contracts.text import clean
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.http.asgi import Receive, Scope, Send
from keyferry.runtime.http.credential import ConflictingCredentials
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from services.console.authentication import InvalidCredential
from services.console.bodies import Body
from services.console.negotiation import accepts_html
from services.console.problem import not_found
from services.console.service_client import ServiceClient
from services.console.sign_in.authenticator import Authenticator
from services.console.sign_in.claims import ClaimedIdentity
from services.console.sign_in.code_flow import CodeFlow
from services.console.sign_in.cookies import AmbiguousCookie, CookiePolicy, read_cookie
from services.console.sign_in.csrf import CrossSiteRequest, check_origin
from services.console.sign_in.device_flow import DeviceFlow
from services.console.sign_in.failures import SignInFailed, SignInFailure, failure_address, failure_of
from services.console.sign_in.login_state import (
    LOGIN_SECONDS,
    LoginState,
    LoginStateCipher,
    LoginStateExpired,
    LoginStateLost,
    begin,
)
from services.console.sign_in.pages import CODE_PAGE, CODE_SCRIPT, PAGE_POLICY
from services.console.sign_in.provider_document import ProviderProblem, ProviderRefusal
from services.console.sign_in.requests import PollDevice, RedeemCode, local_path
from services.console.sign_in.session_index import SessionIndex
from services.console.sign_in.session_starter import SessionStarter, StartedSession
from services.console.sign_in.token_verification import InvalidToken
from services.console.validation import problem_from_faults

_log = logging.getLogger(__name__)

_MAX_MESSAGE_CHARACTERS = 400

B = TypeVar("B", bound=Body)


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """What signing in with an identity provider needs."""

    issuer: str
    code_flow: CodeFlow
    device_flow: DeviceFlow
    cipher: LoginStateCipher


class SignInRoutes:
    """An ASGI application. Without `provider` and without `login_key` it says that nobody can sign in."""

    def __init__(
        self,
        *,
        services: ServiceClient,
        sessions: SessionIndex,
        starter: SessionStarter,
        authenticate: Authenticator,
        cookies: CookiePolicy,
        own_origin: str,
        clock: Callable[[], datetime],
        limiter: AddressLimiter,
        provider: BrowserLogin | None = None,
        login_key: Secret | None = None,
    ) -> None:
        self._services = services
        self._sessions = sessions
        self._starter = starter
        self._authenticate = authenticate
        self._cookies = cookies
        self._own_origin = own_origin
        self._clock = clock
        self._limiter = limiter
        self._provider = provider
        self._login_key = login_key
        self._routes: Mapping[tuple[str, str], Callable[[Request], Awaitable[Response]]] = {
            ("GET", "/auth/methods"): self.methods,
            ("GET", "/auth/login"): self.login,
            ("GET", "/auth/callback"): self.callback,
            ("POST", "/auth/logout"): self.logout,
            ("POST", "/auth/device"): self.begin_device,
            ("POST", "/auth/device/token"): self.poll_device,
            ("GET", "/auth/code"): self.code_page,
            ("GET", "/auth/code.js"): self.code_script,
            ("POST", "/auth/code"): self.redeem_code,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises HttpProblem, 429 for too many of one address."""
        path, client, request = scope["path"], scope.get("client"), Request(scope, receive)
        try:
            self._limiter.take(client[0] if client else "", time.monotonic())
        except HttpProblem:
            if not _opens_address(request):
                raise
            await RedirectResponse(failure_address(SignInFailure.TOO_MANY_ATTEMPTS), 303)(scope, receive, send)
            return
        handler = self._routes.get((scope["method"], path))
        if handler is None:
            allowed = sorted(method for method, known in self._routes if known == path)
            if not allowed:
                raise not_found(
                    "there is nothing at this address: people sign in at /auth/login, or with `keyferry login`"
                )
            headers = {"allow": ", ".join(allowed)}
            message = f"this address takes {headers['allow']}"
            raise HttpProblem(405, INVALID_REQUEST, "method_not_allowed", message, headers=headers)
        await (await handler(request))(scope, receive, send)

    async def methods(self, _: Request) -> Response:
        """Say how people can sign in here."""
        available = ["browser", "device"] if self._provider else ["code"] if self._login_key else []
        return JSONResponse({"methods": available})

    async def login(self, request: Request) -> Response:
        """Send a browser to the identity provider."""
        return await self._explained(request, self._send_to_provider)

    async def callback(self, request: Request) -> Response:
        """Take a browser back from the identity provider, and start its session."""
        return await self._explained(request, self._take_back)

    async def _explained(self, request: Request, handler: Callable[[Request], Awaitable[Response]]) -> Response:
        """Return the answer of a handler. If it fails, a browser is sent to the page, and others get the reason as text."""
        try:
            return await handler(request)
        except SignInFailed as error:
            failed = error
        except HttpProblem as problem:
            if not _opens_address(request):
                raise
            code = SignInFailure.NOT_CONFIGURED if self._provider is None else failure_of(problem.code)
            failed = SignInFailed(code, problem.status, problem.message)
        message = clean(str(failed), _MAX_MESSAGE_CHARACTERS)
        _log.info("somebody could not sign in", extra={"failure": failed.failure.value, "reason": message})
        response: Response = PlainTextResponse(message + "\n", failed.status)
        if _opens_address(request):
            response = RedirectResponse(failure_address(failed.failure, failed.return_to), 303)
        return self._forget_state(response) if failed.is_over else response

    async def _send_to_provider(self, request: Request) -> Response:
        provider = self._require_provider()
        step_up, return_to = (
            request.query_params.get("step_up") == "1",
            local_path(request.query_params.get("return_to")),
        )
        state = begin(return_to, step_up, self._clock().timestamp())
        try:
            response = RedirectResponse(await provider.code_flow.authorization_url(state), 302)
        except ProviderProblem as error:
            raise SignInFailed(SignInFailure.PROVIDER_UNAVAILABLE, 503, str(error), return_to) from None
        value = self._cookies.render(self._cookies.state, provider.cipher.encrypt(state), LOGIN_SECONDS)
        response.headers.append("set-cookie", value)
        return response

    async def _take_back(self, request: Request) -> Response:
        provider = self._require_provider()
        state = self._state_of(provider, request)
        identity = await _identity_from(provider, request, state)
        replaced = self._session_of(request.scope)
        started = await self._starter.from_identity(identity, provider.issuer, SessionChannel.BROWSER, replaced)
        response = RedirectResponse(state.return_to, 303)
        self._set_session(response, started)
        return self._forget_state(response)

    def _state_of(self, provider: BrowserLogin, request: Request) -> LoginState:
        """Return the state of the sign-in that this browser has begun. Raises SignInFailed."""
        query, begin_at = request.query_params, f"{self._own_origin}/auth/login"
        try:
            cookie = read_cookie(request.scope["headers"], self._cookies.state)
            state = provider.cipher.decrypt(cookie, self._clock().timestamp())
        except LoginStateExpired as error:
            raise SignInFailed(SignInFailure.TOO_SLOW, 400, f"{error} at {begin_at}") from None
        except (LoginStateLost, AmbiguousCookie) as error:
            raise SignInFailed(SignInFailure.OTHER_BROWSER, 400, f"{error} at {begin_at}") from None
        if Secret(query.get("state", "")) != Secret(state.state) or len(query.getlist("state")) != 1:
            message = f"this answer belongs to another sign-in: begin again at {begin_at}"
            raise SignInFailed(SignInFailure.OTHER_BROWSER, 400, message)
        return state

    async def logout(self, request: Request) -> Response:
        """End the session that authenticates the request. The answer names the provider's own page, if it has one."""
        try:
            principal = await self._authenticate(request.scope)
        except (InvalidCredential, ConflictingCredentials) as error:
            raise HttpProblem(401, "authentication_error", "invalid_api_key", str(error)) from None
        if principal.login is not None:
            session = principal.login.session
            command = EndSession(session_id=session.session_id, user_id=session.user_id, actor=session.user_id)
            try:
                await self._services.change(SESSION_END, command)
            except HttpProblem as problem:
                if problem.code != ErrorCode.NOT_FOUND.value:
                    raise
        url = await self._provider.code_flow.logout_url() if self._provider else None
        response = JSONResponse({"logout_url": url})
        response.headers.append("set-cookie", self._cookies.render(self._cookies.session, "", 0))
        return response

    async def begin_device(self, _: Request) -> Response:
        """Begin a login of the command line."""
        try:
            login = await self._require_provider().device_flow.begin()
        except (ProviderProblem, ProviderRefusal) as error:
            raise _unavailable(error) from None
        return JSONResponse(
            {
                "device_code": login.device_code,
                "user_code": login.user_code,
                "verification_uri": login.verification_uri,
                "verification_uri_complete": login.verification_uri_complete,
                "expires_in": login.expires_in,
                "interval": login.interval,
            }
        )

    async def poll_device(self, request: Request) -> Response:
        """Return the session of a login of the command line, or that it is still under way."""
        provider = self._require_provider()
        body = await _read(request, PollDevice)
        try:
            identity = await provider.device_flow.poll(body.device_code)
        except ProviderRefusal as error:
            message = error.description or error.error
            raise HttpProblem(400, INVALID_REQUEST, _device_code(error.error), message) from None
        except ProviderProblem as error:
            raise _unavailable(error) from None
        except InvalidToken as error:
            raise HttpProblem(403, "permission_error", "invalid_token", str(error)) from None
        return _token(await self._starter.from_identity(identity, provider.issuer, SessionChannel.DEVICE, None))

    async def code_page(self, _: Request) -> Response:
        """Show the page that posts a code from its own address."""
        return HTMLResponse(CODE_PAGE, headers={"content-security-policy": PAGE_POLICY})

    async def code_script(self, _: Request) -> Response:
        """Return the program of that page."""
        return Response(CODE_SCRIPT, media_type="text/javascript")

    async def redeem_code(self, request: Request) -> Response:
        """Exchange a code of the built-in login for a session: for the command line, or for this browser."""
        body = await _read(request, RedeemCode)
        return_to = local_path(body.return_to)
        try:
            started = await self._redeem(body, request)
        except HttpProblem as problem:
            if not body.browser:
                raise
            address = failure_address(failure_of(problem.code), return_to)
            return JSONResponse({"return_to": address}, problem.status, headers=problem.headers)
        if not body.browser:
            return _token(started)
        response = JSONResponse({"return_to": return_to})
        self._set_session(response, started)
        return response

    async def _redeem(self, body: RedeemCode, request: Request) -> StartedSession:
        """Start the session for which a code is. Raises HttpProblem."""
        if self._login_key is None:
            raise not_found("the built-in login is off here: sign in with the identity provider, if there is one")
        if body.browser:
            self._require_own_page(request)
        now = self._clock()
        try:
            claims = sign_in_code.read(body.code, self._login_key, now.timestamp())
        except sign_in_code.ExpiredCode as error:
            raise HttpProblem(403, "permission_error", "expired_code", str(error)) from None
        except sign_in_code.InvalidCode as error:
            raise HttpProblem(403, "permission_error", "invalid_code", str(error)) from None
        replaced = self._session_of(request.scope) if body.browser else None
        channel = SessionChannel.BROWSER if body.browser else SessionChannel.CODE
        return await self._starter.from_code(claims, sign_in_code.digest(body.code), channel, replaced, now)

    def _require_own_page(self, request: Request) -> None:
        """Check that the console's page sends the code: another site must not sign a browser in as somebody else."""
        try:
            check_origin(request.headers.get("origin"), request.headers.get("sec-fetch-site"), self._own_origin)
        except CrossSiteRequest as error:
            raise HttpProblem(403, "permission_error", "cross_site_request", str(error)) from None

    def _require_provider(self) -> BrowserLogin:
        if self._provider is None:
            raise not_found(
                "no identity provider is configured here (KEYFERRY_OIDC_ISSUER); on the machine itself, `keyferry login` may work"
            )
        return self._provider

    def _session_of(self, scope: Scope) -> str | None:
        """Return the id of the session that a browser had until now."""
        try:
            token = read_cookie(scope["headers"], self._cookies.session)
            return self._sessions.find(token).session.session_id if token else None
        except (InvalidCredential, AmbiguousCookie):
            return None

    def _set_session(self, response: Response, started: StartedSession) -> None:
        session = started.session
        lifetime = int((session.expires_at - session.created_at).total_seconds())
        value = self._cookies.render(self._cookies.session, started.token.reveal(), lifetime)
        response.headers.append("set-cookie", value)

    def _forget_state(self, response: Response) -> Response:
        response.headers.append("set-cookie", self._cookies.render(self._cookies.state, "", 0))
        return response


async def _read(request: Request, kind: type[B]) -> B:
    """Return the JSON body of a request. Raises HttpProblem."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        message = "the body must be a JSON object, sent with content-type application/json"
        raise HttpProblem(400, INVALID_REQUEST, "invalid_json", message)
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise problem_from_faults([{**fault, "loc": ("body", *fault["loc"])} for fault in faults]) from None


def _token(started: StartedSession) -> Response:
    session = started.session
    return JSONResponse(
        {
            "session_token": started.token.reveal(),
            "session_id": session.session_id,
            "name": session.name,
            "email": session.email,
            "expires_at": session.expires_at.isoformat(),
        }
    )


_DEVICE_CODES = ("authorization_pending", "slow_down", "expired_token", "access_denied")


def _device_code(error: str) -> str:
    return error if error in _DEVICE_CODES else "refused_by_the_provider"


def _unavailable(error: Exception) -> HttpProblem:
    return HttpProblem(503, "overloaded_error", "unavailable", str(error), headers={"retry-after": "5"})


async def _identity_from(provider: BrowserLogin, request: Request, state: LoginState) -> ClaimedIdentity:
    """Return who has signed in, by what the provider has sent along with the browser. Raises SignInFailed."""
    query = request.query_params
    refused, rejected = SignInFailure.REFUSED, SignInFailure.NOT_ACCEPTED
    if "error" in query or "code" not in query:
        said = ": ".join(filter(None, (query.get("error", "no code"), query.get("error_description", ""))))
        raise SignInFailed(refused, 403, f"the identity provider refused: {said}", state.return_to, is_over=True)
    if query.get("iss", provider.issuer) != provider.issuer:
        message = "the answer is of another identity provider (RFC 9207)"
        raise SignInFailed(rejected, 400, message, state.return_to, is_over=True)
    try:
        return await provider.code_flow.redeem(query["code"], state)
    except ProviderRefusal as error:
        message = f"the identity provider refused: {error}"
        raise SignInFailed(refused, 403, message, state.return_to, is_over=True) from None
    except ProviderProblem as error:
        raise SignInFailed(SignInFailure.PROVIDER_UNAVAILABLE, 503, str(error), state.return_to) from None
    except InvalidToken as error:
        message = f"the identity provider's token is not accepted: {error}"
        raise SignInFailed(rejected, 403, message, state.return_to, is_over=True) from None


def _opens_address(request: Request) -> bool:
    """Return whether a person's browser opens the address, and not a program."""
    return request.method == "GET" and accepts_html(request.headers.get("accept"))
