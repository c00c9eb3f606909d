"""An identity provider in this process, shaped like Keycloak: code flow with PKCE, device flow, rotating keys, and faults."""

import base64
import hashlib
import html
import json
import secrets
import time
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from deploy.embedded.ports import LOOPBACK
from keyferry.runtime.http.server import HttpServer
from tests.support.servers.ports import find_free_port

CLIENT = "keyferry-console"
CLIENT_SECRET = "a-client-secret-for-tests"
AUDIENCE = "keyferry-api"
REALM = "/realms/test"
_PROTOCOL = f"{REALM}/protocol/openid-connect"
_LIFETIME_SECONDS = 300


@cache
def _rsa(owner: str) -> RSAPrivateKey:
    """Return one owner's key: generating one takes a tenth of a second."""
    return generate_private_key(65537, 2048)


def new_key(algorithm: str, kid: str, owner: str = "provider") -> Key:
    """Return a private key; RSA keys of one owner are the same key under other ids."""
    if algorithm == "RS256":
        pem = _rsa(owner).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return RSAKey.import_key(pem, {"kid": kid, "use": "sig", "alg": algorithm})
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": algorithm})
    return OKPKey.generate_key("Ed25519", {"kid": kid, "use": "sig", "alg": algorithm})


@dataclass
class Pending:
    """An authorization that waits for its code, or a device for its person."""

    form: Mapping[str, str]
    person: str | None = None
    denied: bool = False
    nonce: str | None = None
    challenge: str | None = None
    redirect_uri: str | None = None
    polls: int = 0
    expires_at: float = field(default_factory=lambda: time.time() + _LIFETIME_SECONDS)


@dataclass
class ProviderDouble:
    """The provider. `people` are claims by user name; who types a name at its page is that person."""

    port: int
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    signing: Key = field(default_factory=lambda: new_key("RS256", "key-1"))
    published: list[Key] = field(default_factory=list)
    faults: dict[str, Response] = field(default_factory=dict)
    """Path -> the answer in place of the right one."""
    requests: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    """Claims that replace those of every ID token."""
    header: dict[str, Any] = field(default_factory=dict)
    token_override: str | None = None
    """An ID token to return in place of the right one."""
    slow_down: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)
    """The parameters of each authorization request."""
    last_nonce: str | None = None
    _codes: dict[str, Pending] = field(default_factory=dict)
    _devices: dict[str, Pending] = field(default_factory=dict)
    user_codes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.published.append(self.signing)

    @property
    def base(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def issuer(self) -> str:
        return f"{self.base}{REALM}"

    def rotate(self, algorithm: str = "RS256", *, keep: bool = True) -> Key:
        """Sign with a new key from now on; `keep` publishes the old ones, too."""
        kid = f"key-{secrets.token_hex(3)}"
        self.signing = new_key(algorithm, kid, owner=f"rotated {len(self.published)}")
        self.published = [*(self.published if keep else []), self.signing]
        return self.signing

    def count(self, end: str) -> int:
        """Return how many requests there were for a path that ends like this."""
        return sum(path.endswith(end) for path in self.requests)

    def sign(self, claims: Mapping[str, Any], *, typ: str | None = "JWT", key: Key | None = None) -> str:
        """Return a token with these claims."""
        key = key or self.signing
        algorithm = str(key.get("alg"))
        header = {"alg": algorithm, "kid": key.kid, **({"typ": typ} if typ else {}), **self.header}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of the name `EdDSA`
            return jwt.encode(header, dict(claims), key, algorithms=[algorithm], default_type=None)

    def id_claims(self, person: str, nonce: str | None = None) -> dict[str, Any]:
        """Return the claims of an ID token of Keycloak."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "azp": CLIENT,
            "sub": f"sub-{person}",
            "typ": "ID",
            "iat": now,
            "exp": now + _LIFETIME_SECONDS,
            "auth_time": now,
            "acr": "1",
            "sid": secrets.token_hex(8),
            **self.people.get(person, {}),
        }
        return claims | ({"nonce": nonce} if nonce else {}) | self.extra

    def access_claims(self, program: str = "robot") -> dict[str, Any]:
        """Return the claims of an access token of Keycloak for the management API."""
        now = int(time.time())
        return {
            "iss": self.issuer,
            "aud": [AUDIENCE, "account"],
            "azp": "robot-client",
            "sub": f"sub-{program}",
            "typ": "Bearer",
            "iat": now,
            "exp": now + _LIFETIME_SECONDS,
            "jti": secrets.token_hex(8),
            **self.people.get(program, {}),
        }

    def access_token(self, program: str = "robot", **changes: Any) -> str:
        """Return an access token for the management API."""
        return self.sign(self.access_claims(program) | changes)

    def application(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route(f"{REALM}/.well-known/openid-configuration", self._guard(self._discovery)),
                Route(f"{_PROTOCOL}/certs", self._guard(self._certs)),
                Route(f"{_PROTOCOL}/auth", self._guard(self._authorize), methods=["GET", "POST"]),
                Route(f"{_PROTOCOL}/token", self._guard(self._token), methods=["POST"]),
                Route(f"{_PROTOCOL}/auth/device", self._guard(self._device), methods=["POST"]),
                Route(f"{REALM}/device", self._guard(self._device_page), methods=["GET", "POST"]),
                Route(f"{_PROTOCOL}/logout", self._guard(self._logout)),
            ]
        )

    def _guard(self, handler: Any) -> Any:
        async def guarded(request: Request) -> Response:
            self.requests.append(request.url.path)
            fault = next((answer for end, answer in self.faults.items() if request.url.path.endswith(end)), None)
            return fault or await handler(request)

        return guarded

    async def _discovery(self, _: Request) -> Response:
        at = f"{self.base}{_PROTOCOL}"
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{at}/auth",
                "token_endpoint": f"{at}/token",
                "jwks_uri": f"{at}/certs",
                "end_session_endpoint": f"{at}/logout",
                "device_authorization_endpoint": f"{at}/auth/device",
                "code_challenge_methods_supported": ["plain", "S256"],
            }
        )

    async def _certs(self, _: Request) -> Response:
        keys = [key.as_dict(private=False) for key in self.published]
        other = {**new_key("RS256", "enc").as_dict(private=False), "use": "enc", "alg": "RSA-OAEP"}
        return JSONResponse({"keys": [*keys, other]})

    async def _authorize(self, request: Request) -> Response:
        """Show a page that asks for a name, and send the browser back with a code."""
        query = dict(request.query_params)
        if request.method == "GET":
            self.asked.append(query)
            self.last_nonce = query.get("nonce")
            if query.get("client_id") != CLIENT or "redirect_uri" not in query:
                return HTMLResponse("unknown client", 400)
            return HTMLResponse(_page(str(request.url), "login", ""))
        form = await _form(request)
        back = {"state": query.get("state", "")}
        if form.get("login") == "denied":
            answer = back | {"error": "access_denied", "error_description": "the person\x00 said <b>no</b>"}
        else:
            code = secrets.token_urlsafe(16)
            self._codes[code] = Pending(
                form=query,
                person=form["login"],
                nonce=query.get("nonce"),
                challenge=query.get("code_challenge") if query.get("code_challenge_method") == "S256" else None,
                redirect_uri=query["redirect_uri"],
            )
            answer = back | {"code": code}
        return RedirectResponse(f"{query['redirect_uri']}?{urlencode(answer)}", 302)

    async def _token(self, request: Request) -> Response:
        form = await _form(request)
        if form.get("client_id") != CLIENT or form.get("client_secret") != CLIENT_SECRET:
            return _error("invalid_client", "unknown client or wrong secret", 401)
        if form.get("grant_type") == "authorization_code":
            return self._redeem(form)
        if form.get("grant_type") == "urn:ietf:params:oauth:grant-type:device_code":
            return self._poll(form)
        return _error("unsupported_grant_type", "")

    def _redeem(self, form: Mapping[str, str]) -> Response:
        pending = self._codes.pop(form.get("code", ""), None)
        if pending is None or pending.redirect_uri != form.get("redirect_uri"):
            return _error("invalid_grant", "Code not valid")
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if pending.challenge != base64.urlsafe_b64encode(digest).rstrip(b"=").decode():
            return _error("invalid_grant", "PKCE verification failed")
        return self._tokens(pending)

    def _poll(self, form: Mapping[str, str]) -> Response:
        pending = self._devices.get(form.get("device_code", ""))
        if pending is None:
            return _error("invalid_grant", "Device code not valid")
        if time.time() >= pending.expires_at:
            return _error("expired_token", "Device code is expired")
        if pending.denied:
            return _error("access_denied", "The end user denied the authorization request")
        pending.polls += 1
        if pending.person is None:
            return _error("slow_down" if self.slow_down else "authorization_pending", "")
        del self._devices[form["device_code"]]
        return self._tokens(pending)

    def _tokens(self, pending: Pending) -> Response:
        assert pending.person is not None
        identity = self.token_override or self.sign(self.id_claims(pending.person, pending.nonce))
        return JSONResponse(
            {
                "access_token": self.sign(self.access_claims(pending.person)),
                "token_type": "Bearer",
                "expires_in": _LIFETIME_SECONDS,
                "id_token": identity,
                "scope": "openid profile email",
            }
        )

    async def _device(self, request: Request) -> Response:
        form = await _form(request)
        if form.get("client_id") != CLIENT:
            return _error("invalid_client", "unknown client", 401)
        device, user = secrets.token_urlsafe(24), f"{secrets.token_hex(2)}-{secrets.token_hex(2)}".upper()
        self._devices[device] = Pending(form=form)
        self.user_codes[user] = device
        page = f"{self.issuer}/device"
        return JSONResponse(
            {
                "device_code": device,
                "user_code": user,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={user}",
                "expires_in": _LIFETIME_SECONDS,
                "interval": 1,
            }
        )

    async def _device_page(self, request: Request) -> Response:
        code = request.query_params.get("user_code", "")
        if request.method == "GET":
            return HTMLResponse(_page(str(request.url), "login", code))
        form = await _form(request)
        pending = self._devices[self.user_codes[form.get("user_code") or code]]
        pending.person, pending.denied = form["login"], form["login"] == "denied"
        return HTMLResponse("you may go back to your terminal")

    def expire_devices(self) -> None:
        """Let all codes of devices expire."""
        for pending in self._devices.values():
            pending.expires_at = 0.0

    async def _logout(self, request: Request) -> Response:
        target = request.query_params.get("post_logout_redirect_uri")
        return RedirectResponse(target, 302) if target else HTMLResponse("you are logged out")


async def _form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}


def _error(error: str, description: str, status: int = 400) -> Response:
    return JSONResponse({"error": error, "error_description": description}, status)


def _page(action: str, field_name: str, code: str) -> str:
    return (
        f'<form method="post" action="{html.escape(action)}"><input name="{field_name}">'
        f'<input name="user_code" value="{html.escape(code)}"><input name="password" type="password"></form>'
    )


@asynccontextmanager
async def provider_double(**people: dict[str, Any]) -> AsyncIterator[ProviderDouble]:
    """Run a provider with these people."""
    double = ProviderDouble(find_free_port(), people)
    server = HttpServer(double.application(), LOOPBACK, double.port, drain_seconds=1)
    await server.start()
    try:
        yield double
    finally:
        await server.drain()


def as_json(value: object) -> bytes:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()
