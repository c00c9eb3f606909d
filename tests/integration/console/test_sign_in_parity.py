"""The console signs people in alike with a standards-conforming provider and with the double of the other tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest

from tests.integration.console.sign_in_site import PEOPLE, SESSION, TOKENS, SignInSite, console_of, until
from tests.integration.tenant_directory.conftest import servers as servers
from tests.integration.tenant_directory.processes import DirectoryServers
from tests.support.oidc.browser import Browser
from tests.support.oidc.conforming_provider import conforming_provider, install
from tests.support.oidc.provider_double import ProviderDouble, provider_double


class Provider(Protocol):
    """What both providers can do."""

    @property
    def issuer(self) -> str: ...

    async def sign_with(self, algorithm: str) -> None: ...

    async def program_token(self) -> str: ...


@dataclass
class Double:
    """The double, in the terms of both."""

    double: ProviderDouble

    @property
    def issuer(self) -> str:
        return self.double.issuer

    async def sign_with(self, algorithm: str) -> None:
        self.double.rotate(algorithm)

    async def program_token(self) -> str:
        return self.double.access_token()


@dataclass
class Site(SignInSite):
    """A console with either provider."""

    provider: Provider


@pytest.fixture(scope="session")
def installed() -> Path:
    return install()


@asynccontextmanager
async def _provider(name: str, folder: Path) -> AsyncIterator[Provider]:
    if name == "double":
        async with provider_double(**PEOPLE) as double:
            yield Double(double)
    else:
        async with conforming_provider(folder, **PEOPLE) as provider:
            yield provider


@pytest.mark.parametrize("name", ["conforming", "double"])
async def test_either_provider_signs_people_in(
    servers: DirectoryServers, installed: Path, tmp_path: Path, name: str
) -> None:
    """One console for all of it, as starting one takes longer than everything that is done with it."""
    async with (
        _provider(name, installed) as provider,
        console_of(servers, tmp_path, provider.issuer, {}) as face,
    ):
        site = Site(face, provider)
        await _the_provider_is_discovered(site)
        await _a_changed_request_or_answer_signs_nobody_in(site)
        await _a_device_signs_in(site)
        await _people_sign_in_before_and_after_a_key_is_rotated(site)


async def _the_provider_is_discovered(site: Site) -> None:
    methods = (await site.ask("GET", "/auth/methods")).json()
    asked = await site.ask("GET", "/auth/login")
    assert asked.status_code in (302, 303)
    target = asked.headers["location"]
    async with httpx.AsyncClient(trust_env=False) as client:
        document = (await client.get(f"{site.provider.issuer}/.well-known/openid-configuration")).json()
    assert target.startswith(document["authorization_endpoint"] + "?")
    assert document["issuer"] == site.provider.issuer
    assert "S256" in document["code_challenge_methods_supported"]
    assert methods


async def _people_sign_in_before_and_after_a_key_is_rotated(site: Site) -> None:
    async with Browser() as browser:
        who = await _sign_in(site, browser, "ada")
        assert (who["name"], who["email"]) == ("Ada", "ada@example.com")
        assert [(member["tenant"], member["role"]) for member in who["memberships"]] == [
            ("acme", "admin"),
            ("initech", "admin"),
        ]
        own = {"origin": site.url, "x-csrf-token": who["csrf_token"], "x-keyferry-tenant": "acme"}
        made = await browser.send("POST", f"{site.url}{TOKENS}", json={"label": "app"}, headers=own)
        assert made.status_code == 201, made.text
        out = await browser.send("POST", f"{site.url}/auth/logout", headers=own)
        assert out.json()["logout_url"].startswith(site.provider.issuer)
        ended = await browser.send("GET", out.json()["logout_url"])
        assert ended.status_code in (200, 302), "the provider accepts the address"
    await site.provider.sign_with("ES256")
    async with Browser() as browser:
        assert (await _sign_in(site, browser, "otto"))["operator"] is True
        assert (await browser.send("GET", f"{site.url}/api/v1/ops/tenants")).status_code == 200
    answer = await site.ask("GET", SESSION, await site.provider.program_token())
    assert (answer.status_code, answer.json()["tenant"], answer.json()["role"]) == (200, "acme", "developer")


async def _a_changed_request_or_answer_signs_nobody_in(site: Site) -> None:
    """The nonce, the challenge and the state are each of this browser's own request, and a code is used once."""
    changes: tuple[tuple[dict[str, str], int], ...] = (
        ({"nonce": "another"}, 403),
        ({"code_challenge": "A" * 43}, 403),
        ({"state": "another"}, 400),
    )
    for changed, status in changes:
        async with Browser() as browser:
            answer = await browser.send("GET", await _to_callback(site, browser, changed))
            assert answer.status_code == status, f"{changed}: {answer.text}"
            assert not _signed_in(answer)
    async with Browser() as thief, Browser() as victim:
        stolen = await _to_callback(site, thief, {})
        own = await _to_callback(site, victim, {})
        swapped = dict(parse_qsl(urlsplit(own).query)) | {"code": dict(parse_qsl(urlsplit(stolen).query))["code"]}
        answer = await victim.send("GET", f"{site.url}/auth/callback?{urlencode(swapped)}")
        assert answer.status_code == 403, "a code of another person's browser"
        assert not _signed_in(answer)
    async with Browser() as browser:
        callback = await _to_callback(site, browser, {})
        assert _signed_in(await browser.send("GET", callback))
        assert (await browser.send("GET", callback)).status_code in (400, 403), "the code is used"
        denied = await browser.sign_in(site.login_url(), "denied")
        assert (denied.status_code, "access_denied" in denied.text) == (403, True)


async def _a_device_signs_in(site: Site) -> None:
    begun = (await site.ask("POST", "/auth/device")).json()
    poll = {"device_code": begun["device_code"]}
    waiting = await site.ask("POST", "/auth/device/token", json=poll)
    assert (waiting.status_code, waiting.json()["error"]["code"]) == (400, "authorization_pending")
    async with Browser() as browser:
        await browser.sign_in(begun["verification_uri_complete"], "vera")
    done = await site.ask("POST", "/auth/device/token", json=poll)
    assert done.status_code == 200, done.text
    token = done.json()["session_token"]

    async def known() -> bool:
        return (await site.ask("GET", SESSION, token)).status_code == 200

    await until("the session is known", known)
    assert (await site.ask("GET", SESSION, token)).json()["role"] == "viewer"
    assert (await site.ask("POST", "/auth/device/token", json=poll)).status_code == 400, "a code is used once"
    begun = (await site.ask("POST", "/auth/device")).json()
    async with Browser() as browser:
        await browser.sign_in(begun["verification_uri_complete"], "denied")
    refused = await site.ask("POST", "/auth/device/token", json={"device_code": begun["device_code"]})
    assert refused.json()["error"]["code"] == "access_denied"


async def _sign_in(site: Site, browser: Browser, person: str) -> dict[str, Any]:
    answer = await browser.sign_in(site.login_url(), person, stop_at=f"{site.url}/api")
    assert _signed_in(answer), answer.text
    return await site.session_of(browser)


async def _to_callback(site: Site, browser: Browser, changed: dict[str, str]) -> str:
    """Begin to sign in as Ada with changed parameters; return the address that the provider sends the browser to."""
    begun = await browser.sign_in(site.login_url(), "ada", stop_at=site.provider.issuer)
    target = urlsplit(begun.headers["location"])
    query = dict(parse_qsl(target.query)) | changed
    answer = await browser.sign_in(
        target._replace(query=urlencode(query)).geturl(), "ada", stop_at=f"{site.url}/auth/callback"
    )
    return str(answer.headers["location"])


def _signed_in(answer: httpx.Response) -> bool:
    return any(value.startswith("sid=kfs_") for value in answer.headers.get_list("set-cookie"))
