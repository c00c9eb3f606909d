"""A console that people sign in to, with an identity provider, for the tests of signing in."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.sealing.private_keys import public_key_text
from tests.integration.console.console import Console, console
from tests.integration.tenant_directory.processes import DirectoryServers
from tests.support.oidc.browser import Browser
from tests.support.oidc.provider_double import CLIENT_SECRET, ProviderDouble, provider_double

SESSION = "/api/v1/session"
TOKENS = "/api/v1/client-tokens"
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {
        "name": "Ada",
        "email": "ada@example.com",
        "email_verified": True,
        "tenant": ["acme", "initech"],
        "realm_access": {"roles": ["keyferry-admin", "offline_access"]},
    },
    "vera": {"name": "Vera", "tenant": "acme", "realm_access": {"roles": ["keyferry-viewer"]}},
    "otto": {"name": "Otto", "realm_access": {"roles": ["keyferry-operator"]}},
    "nobody": {"name": "Nobody"},
    "robot": {"tenant": "acme", "realm_access": {"roles": ["keyferry-developer"]}},
}
UNLIMITED = {"KEYFERRY_FAILURES_PER_MINUTE": "1000000", "KEYFERRY_SIGN_INS_PER_MINUTE": "1000000"}


@dataclass
class SignInSite:
    """A console that people sign in to."""

    face: Console

    @property
    def url(self) -> str:
        return str(self.face.client.base_url).rstrip("/")

    def login_url(self, **query: str) -> str:
        """Return the address at which signing in begins; it ends at the API's own, unless `query` names another one."""
        query = {"return_to": SESSION, **query}
        return str(httpx.URL(f"{self.url}/auth/login", params=query))

    async def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """Send a request with a bearer token, or without any credential."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            return await client.request(method, path, headers=headers | more.pop("headers", {}), **more)

    async def session_of(self, browser: Browser) -> dict[str, Any]:
        """Return what the console says of the browser's session, once the session has arrived in its view."""

        async def known() -> httpx.Response | None:
            answer = await browser.send("GET", f"{self.url}{SESSION}")
            return answer if answer.status_code == 200 else None

        return (await until("the session is known", known)).json()  # type: ignore[no-any-return]  # JSON


@dataclass
class Place(SignInSite):
    """A console with the double of an identity provider, and a tenant or two."""

    provider: ProviderDouble


async def until(what: str, look: Any) -> Any:
    """Wait for an asynchronous condition."""
    try:
        async with asyncio.timeout(60):
            while True:
                if value := await look():
                    return value
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(what) from None


@asynccontextmanager
async def console_of(
    servers: DirectoryServers, folder: Path, issuer: str, settings: Mapping[str, str]
) -> AsyncIterator[Console]:
    """Run a directory and a console that trusts `issuer`, with three tenants."""
    secret, session_key = folder / "client-secret", folder / "session-key"
    secret.write_text(CLIENT_SECRET)
    session_key.write_text("a-session-key-for-tests-0123456789abcdef")
    environment: Mapping[str, str] = {
        **UNLIMITED,
        "KEYFERRY_OIDC_ISSUER": issuer,
        "KEYFERRY_OIDC_CLIENT_SECRET_FILE": str(secret),
        "KEYFERRY_SESSION_KEY_FILE": str(session_key),
        **settings,
    }
    pinned = public_key_text(X25519PrivateKey.generate())
    async with (
        servers.process(),
        console(servers.bus, folder, pinned, records=False, settings=environment) as face,
    ):
        for tenant in ("acme", "initech", "foreign"):
            assert (await face.client.post("/api/v1/ops/tenants", json={"tenant": tenant})).status_code == 201
        yield face


@asynccontextmanager
async def place(servers: DirectoryServers, folder: Path, **settings: str) -> AsyncIterator[Place]:
    """Run a console with the double of an identity provider."""
    async with (
        provider_double(**PEOPLE) as provider,
        console_of(servers, folder, provider.issuer, settings) as face,
    ):
        yield Place(face, provider)
