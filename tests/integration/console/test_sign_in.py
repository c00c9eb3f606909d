"""People sign in to the console: with an identity provider, a real directory, NATS and PostgreSQL."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts import sign_in_code
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.secret import Secret
from keyferry.sealing.private_keys import public_key_text
from services.console.sign_in.pages import PAGE_POLICY
from tests.integration.console.console import console, log_lines
from tests.integration.console.sign_in_site import SESSION, TOKENS, UNLIMITED, Place, place, until
from tests.integration.tenant_directory.conftest import servers as servers
from tests.integration.tenant_directory.processes import DirectoryServers
from tests.support.oidc.browser import Browser
from tests.support.oidc.provider_double import AUDIENCE, ProviderDouble
from tests.support.oidc.token_attacks import ACCESS_ONLY, COMMON, ID_ONLY

OPENS = {"accept": "text/html,*/*;q=0.8"}
"""What a browser sends that opens an address."""


@pytest.fixture
async def here(servers: DirectoryServers, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(servers, tmp_path) as found:
        yield found


async def test_a_browser_signs_in_acts_and_signs_out(here: Place) -> None:
    async with Browser() as browser:
        answer = await browser.sign_in(here.login_url(return_to="/api/v1/models?x=1"), "ada", stop_at=f"{here.url}/api")
        assert (answer.status_code, answer.headers["location"]) == (303, "/api/v1/models?x=1")
        cookie = next(value for value in answer.headers.get_list("set-cookie") if value.startswith("sid="))
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Path=/" in cookie
        assert "Secure" not in cookie, "plain http on this machine"
        asked = here.provider.asked[-1]
        assert asked["code_challenge_method"] == "S256"
        assert len(asked["state"]) >= 40
        assert len(asked["nonce"]) >= 40
        who = await here.session_of(browser)
        assert (who["name"], who["email"], who["tenant"]) == ("Ada", "ada@example.com", None)
        assert [(member["tenant"], member["role"]) for member in who["memberships"]] == [
            ("acme", "admin"),
            ("initech", "admin"),
        ]
        await _change_only_from_own_pages(here, browser, who["csrf_token"])
        await _choose_a_tenant(here, browser, who["csrf_token"])
        own = {"origin": here.url, "x-csrf-token": who["csrf_token"]}
        out = await browser.send("POST", f"{here.url}/auth/logout", headers=own)
        assert out.json()["logout_url"].startswith(f"{here.provider.issuer}/protocol/openid-connect/logout?")

        async def ended() -> bool:
            return (await here.ask("GET", SESSION, token)).status_code == 401

        token = cookie.partition("=")[2].partition(";")[0]
        await until("the session has ended", ended)
    emitted = here.face.log_text
    assert token not in emitted
    assert token[:20] not in emitted


async def _change_only_from_own_pages(here: Place, browser: Browser, csrf: str) -> None:
    """A change with the cookie alone, of another site, or with another session's token is refused; safe requests are not."""
    own = {"origin": here.url, "x-csrf-token": csrf, "x-keyferry-tenant": "acme"}
    refused: list[dict[str, str]] = [
        {},
        {"origin": here.url},
        {"x-csrf-token": csrf},
        own | {"origin": "https://evil.example"},
        own | {"origin": "null"},
        own | {"origin": here.url + ".evil.example"},
        own | {"sec-fetch-site": "cross-site"},
        own | {"sec-fetch-site": "same-site"},
        own | {"x-csrf-token": csrf[:-1] + ("0" if csrf[-1] != "0" else "1")},
        own | {"x-csrf-token": ""},
        {"sec-fetch-site": "none", "x-csrf-token": csrf},
    ]
    body = {"label": "app"}
    for headers in refused:
        answer = await browser.send("POST", f"{here.url}{TOKENS}", json=body, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site_request"), headers
    listed = await browser.send("GET", f"{here.url}{TOKENS}", headers={"x-keyferry-tenant": "acme"})
    assert (listed.status_code, listed.json()["data"]) == (200, [])
    for headers in (own, own | {"sec-fetch-site": "same-origin"}):
        answer = await browser.send("POST", f"{here.url}{TOKENS}", json=body, headers=headers)
        assert answer.status_code == 201, answer.text


async def _choose_a_tenant(here: Place, browser: Browser, csrf: str) -> None:
    """Of several tenants one is named or chosen; one that is not the person's is answered like none."""
    own = {"origin": here.url, "x-csrf-token": csrf}
    none = await browser.send("GET", f"{here.url}{TOKENS}")
    assert (none.status_code, none.json()["error"]["code"]) == (403, "no_tenant")
    answers = [
        await browser.send("GET", f"{here.url}{TOKENS}", headers={"x-keyferry-tenant": name})
        for name in ("foreign", "nothing", "platform", "../acme", "")
    ]
    assert [answer.status_code for answer in answers] == [404] * 5
    assert len({answer.json()["error"]["message"] for answer in answers}) == 1
    unknown = [
        await browser.send("PUT", f"{here.url}{SESSION}", json={"tenant": name}, headers=own)
        for name in ("foreign", "nothing")
    ]
    assert [answer.status_code for answer in unknown] == [404] * 2
    assert len({answer.json()["error"]["message"] for answer in unknown}) == 1
    chosen = await browser.send("PUT", f"{here.url}{SESSION}", json={"tenant": "initech"}, headers=own)
    assert (chosen.json()["tenant"], chosen.json()["role"]) == ("initech", "admin")

    async def acting() -> bool:
        return (await browser.send("GET", f"{here.url}{TOKENS}")).status_code == 200

    await until("the choice is in force", acting)


async def test_roles_are_those_of_this_moment(here: Place) -> None:
    async with Browser() as browser:
        await browser.sign_in(here.login_url(), "vera", stop_at=f"{here.url}/api")
        who = await here.session_of(browser)
        assert (who["tenant"], who["role"], who["email"]) == ("acme", "viewer", None)
        own = {"origin": here.url, "x-csrf-token": who["csrf_token"]}
        assert (await browser.send("POST", f"{here.url}{TOKENS}", json={"label": "x"}, headers=own)).status_code == 403
        member = f"/api/v1/ops/tenants/acme/members/{who['memberships'][0]['member_id']}"
        assert (await here.face.client.patch(member, json={"role": "developer"})).status_code == 200

        async def may() -> bool:
            answer = await browser.send("POST", f"{here.url}{TOKENS}", json={"label": "x"}, headers=own)
            return answer.status_code == 201

        await until("the new role is in force", may)
        assert (await browser.send("GET", f"{here.url}/api/v1/ops/tenants")).status_code == 403
        assert (await here.face.client.patch(member, json={"state": "suspended"})).status_code == 200

        async def out() -> bool:
            return (await browser.send("GET", f"{here.url}{SESSION}")).status_code == 401

        await until("a suspended member is signed out", out)
    async with Browser() as browser:
        await browser.sign_in(here.login_url(), "otto", stop_at=f"{here.url}/api")
        assert (await here.session_of(browser))["operator"] is True
        assert (await browser.send("GET", f"{here.url}/api/v1/ops/tenants")).status_code == 200
    async with Browser() as browser:
        await browser.sign_in(here.login_url(), "nobody", stop_at=f"{here.url}/api")
        assert (await here.session_of(browser))["memberships"] == []
        for path in (TOKENS, "/api/v1/ops/tenants", "/api/v1/usage/summary"):
            assert (await browser.send("GET", f"{here.url}{path}")).status_code == 403


async def test_no_forged_id_token_passes_the_callback(here: Place) -> None:
    attacks = {**COMMON, **ID_ONLY}
    assert len(attacks) >= 40
    for name, attack in attacks.items():
        async with Browser() as browser:
            answer = await browser.sign_in(here.login_url(), "ada", stop_at=f"{here.url}/auth/callback")
            here.provider.token_override = attack(
                here.provider, here.provider.id_claims("ada", here.provider.last_nonce)
            )
            answer = await browser.send("GET", answer.headers["location"])
            assert answer.status_code == 403, f"{name}: {answer.status_code} {answer.text}"
            assert not [value for value in answer.headers.get_list("set-cookie") if value.startswith("sid=kfs")], name
    here.provider.token_override = None
    async with Browser() as browser:
        await browser.sign_in(here.login_url(), "ada", stop_at=f"{here.url}/api")
        assert (await here.session_of(browser))["name"] == "Ada"


async def test_no_forged_access_token_passes_the_api(here: Place) -> None:
    attacks = {**COMMON, **ACCESS_ONLY}
    assert len(attacks) >= 40
    assert (await here.ask("GET", SESSION, here.provider.access_token())).status_code == 200
    here.provider.rotate()
    rotated = await here.ask("GET", SESSION, here.provider.access_token())
    assert rotated.status_code == 200, "the first token of a rotated key is accepted"
    for name, attack in attacks.items():
        token = attack(here.provider, here.provider.access_claims("robot") | {"aud": AUDIENCE})
        if any(character in token for character in "\r\n\0"):
            continue
        answer = await here.ask("GET", SESSION, token)
        assert answer.status_code in (400, 401, 431), f"{name}: {answer.status_code} {answer.text}"
        assert token[:40] not in answer.text or len(token) < 40, name
    good = await here.ask("GET", SESSION, here.provider.access_token())
    assert (good.status_code, good.json()["tenant"], good.json()["role"]) == (200, "acme", "developer")
    for method, path in (("POST", "/api/v1/provider-keys"), ("GET", "/api/v1/ops/tenants")):
        refused = await here.ask(method, path, here.provider.access_token(), json={} if method == "POST" else None)
        assert refused.status_code in (403, 422), path


async def test_a_sign_in_belongs_to_the_browser_that_began_it(here: Place) -> None:
    """Login CSRF, session fixation, replayed codes, errors of the provider, and addresses of other sites."""
    async with Browser() as attacker, Browser() as victim:
        stolen = (await attacker.sign_in(here.login_url(), "ada", stop_at=f"{here.url}/auth/callback")).headers
        answer = await victim.send("GET", stolen["location"])
        assert answer.status_code == 400, "another browser's answer"
        assert "has not begun to sign in" in answer.text
        await victim.sign_in(here.login_url(), "vera", stop_at=f"{here.url}/auth/callback")
        assert (await victim.send("GET", stolen["location"])).status_code == 400, "another state"
        fixed = await here.ask("GET", SESSION, "kfs_" + "0" * 46)
        assert fixed.status_code == 401
        first = await attacker.send("GET", stolen["location"])
        assert first.status_code == 303
        assert (await attacker.send("GET", stolen["location"])).status_code in (400, 403), "the code is used"
        before = attacker.client(here.url).cookies["sid"]
        await here.session_of(attacker)
        await attacker.sign_in(here.login_url(), "ada", stop_at=f"{here.url}/api")
        after = attacker.client(here.url).cookies["sid"]
        assert before != after, "a new session at each sign-in"

        async def replaced() -> bool:
            return (await here.ask("GET", SESSION, before)).status_code == 401

        await until("the old session has ended", replaced)
        denied = await victim.sign_in(here.login_url(), "denied")
        assert denied.status_code == 403
        assert "access_denied" in denied.text
        assert "\x00" not in denied.text
        assert denied.headers["content-type"].startswith("text/plain")
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "/auth/login", "javascript:x", "/\ta"):
        async with Browser() as browser:
            await browser.sign_in(here.login_url(return_to=target), "ada")
            assert browser.visited[-1] == f"{here.url}/", target


async def test_the_device_flow_signs_a_terminal_in(here: Place) -> None:
    begun = (await here.ask("POST", "/auth/device")).json()
    poll = {"device_code": begun["device_code"]}
    waiting = await here.ask("POST", "/auth/device/token", json=poll)
    assert (waiting.status_code, waiting.json()["error"]["code"]) == (400, "authorization_pending")
    here.provider.slow_down = True
    slower = await here.ask("POST", "/auth/device/token", json=poll)
    assert slower.json()["error"]["code"] == "slow_down"
    async with Browser() as browser:
        await browser.sign_in(begun["verification_uri_complete"], "ada")
    done = await here.ask("POST", "/auth/device/token", json=poll)
    token = done.json()["session_token"]
    assert token.startswith("kfs_")
    assert "id_token" not in done.text

    async def known() -> bool:
        return (await here.ask("GET", SESSION, token)).status_code == 200

    await until("the session is known", known)
    made = await here.ask("POST", TOKENS, token, json={"label": "cli"}, headers={"x-keyferry-tenant": "acme"})
    assert made.status_code == 201, "a bearer needs no CSRF token"
    assert (await here.ask("POST", "/auth/device/token", json=poll)).status_code == 400, "a code is used once"
    for name, code in (("denied", "access_denied"), ("", "expired_token")):
        begun = (await here.ask("POST", "/auth/device")).json()
        if name:
            async with Browser() as browser:
                await browser.sign_in(begun["verification_uri_complete"], name)
        else:
            here.provider.expire_devices()
        answer = await here.ask("POST", "/auth/device/token", json={"device_code": begun["device_code"]})
        assert answer.json()["error"]["code"] == code


async def test_changes_of_keys_need_a_step_up(servers: DirectoryServers, tmp_path: Path) -> None:
    async with place(servers, tmp_path, KEYFERRY_STEP_UP_ACR="gold", KEYFERRY_STEP_UP_MAX_AGE_SECONDS="300") as here:
        key = {"provider": "openai", "label": "main", "key": "sk-proj-" + "Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0"}
        async with Browser() as browser:
            await browser.sign_in(here.login_url(), "ada", stop_at=f"{here.url}/api")
            who = await here.session_of(browser)
            assert who["step_up_required"] is True
            own = {"origin": here.url, "x-csrf-token": who["csrf_token"], "x-keyferry-tenant": "acme"}
            answer = await browser.send("POST", f"{here.url}/api/v1/provider-keys", json=key, headers=own)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "insufficient_user_authentication")
            challenge = answer.headers["www-authenticate"]
            assert 'error="insufficient_user_authentication"' in challenge
            assert 'acr_values="gold"' in challenge
            assert 'max_age="300"' in challenge
            assert (await browser.send("GET", f"{here.url}{TOKENS}", headers=own)).status_code == 200
            here.provider.extra = {"acr": "gold"}
            await browser.sign_in(here.login_url(step_up="1"), "ada", stop_at=f"{here.url}/api")
            assert (here.provider.asked[-1]["acr_values"], here.provider.asked[-1]["max_age"]) == ("gold", "300")
            who = await here.session_of(browser)
            assert who["step_up_required"] is False
            own["x-csrf-token"] = who["csrf_token"]
            answer = await browser.send("POST", f"{here.url}/api/v1/provider-keys", json=key, headers=own)
            assert answer.status_code == 503, "the vault, which does not run here, is asked"


async def test_the_built_in_login(servers: DirectoryServers, tmp_path: Path) -> None:
    key = Secret("a-login-key-for-tests-and-for-nothing-else")
    file = tmp_path / "login-key"
    file.write_text(key.reveal())
    pinned = public_key_text(X25519PrivateKey.generate())
    settings = {**UNLIMITED, "KEYFERRY_LOGIN_KEY_FILE": str(file)}
    async with (
        servers.process(),
        console(servers.bus, tmp_path, pinned, records=False, settings=settings) as face,
        Browser() as browser,
    ):
        here = Place(face, ProviderDouble(1))
        assert (await face.client.post("/api/v1/ops/tenants", json={"tenant": "acme"})).status_code == 201

        def mint(by: Secret = key, now: float | None = None) -> str:
            return sign_in_code.mint(
                by,
                email="ada@example.com",
                tenant="acme",
                role=AccessRole.OWNER,
                operator=False,
                now_seconds=time.time() if now is None else now,
            ).reveal()

        code = mint()
        done = await here.ask("POST", "/auth/code", json={"code": code})
        token = done.json()["session_token"]

        async def known() -> bool:
            return (await here.ask("GET", SESSION, token)).status_code == 200

        await until("the session is known", known)
        assert (await here.ask("GET", SESSION, token)).json()["role"] == "owner"
        again = await here.ask("POST", "/auth/code", json={"code": code})
        assert (again.status_code, "used already" in again.json()["error"]["message"]) == (409, True)
        other = Secret("another-login-key-for-tests-and-nothing")
        changed = code[:8] + ("A" if code[8] != "A" else "B") + code[9:]
        for bad in (mint(other), mint(now=1_000_000.0), changed, code + "x", "kfc_x.y", token):
            refused = await here.ask("POST", "/auth/code", json={"code": bad})
            assert refused.status_code == 403, bad
            assert bad not in refused.text
        page = await browser.send("GET", f"{here.url}/auth/code")
        assert page.headers.get_list("content-security-policy") == [PAGE_POLICY]
        assert (
            (await browser.send("GET", f"{here.url}/auth/code.js"))
            .headers["content-type"]
            .startswith("text/javascript")
        )
        again = await browser.send(
            "POST", f"{here.url}/auth/code", json={"code": code, "browser": True}, headers={"origin": here.url}
        )
        assert (again.status_code, again.json()) == (409, {"return_to": "/sign-in?error=used_link"})
        for bad, failure in ((mint(other), "invalid_link"), (mint(now=1_000_000.0), "expired_link")):
            body = {"code": bad, "browser": True, "return_to": "/t/acme/usage"}
            refused = await browser.send("POST", f"{here.url}/auth/code", json=body, headers={"origin": here.url})
            address = f"/sign-in?error={failure}&return_to=%2Ft%2Facme%2Fusage"
            assert (refused.status_code, refused.json()) == (403, {"return_to": address})
        for wanted, reached in (("/t/acme/usage", "/t/acme/usage"), ("//evil.example", "/"), ("/auth/login", "/")):
            body = {"code": mint(), "browser": True, "return_to": wanted}
            own = await browser.send("POST", f"{here.url}/auth/code", json=body, headers={"origin": here.url})
            assert own.json() == {"return_to": reached}
        body = {"code": mint(), "browser": True}
        for headers in ({}, {"origin": "https://evil.example"}):
            foreign = await browser.send("POST", f"{here.url}/auth/code", json=body, headers=headers)
            assert foreign.status_code == 403
        own = await browser.send("POST", f"{here.url}/auth/code", json=body, headers={"origin": here.url})
        assert own.json() == {"return_to": "/"}
        assert (await here.session_of(browser))["memberships"][0]["role"] == "owner"
        assert (await here.ask("GET", "/auth/login")).status_code == 404
        opened = await browser.send("GET", f"{here.url}/auth/login", headers=OPENS)
        assert (opened.status_code, opened.headers["location"]) == (303, "/sign-in?error=not_configured")


async def test_a_browser_that_is_not_signed_in_is_sent_to_the_page(here: Place) -> None:
    """Each with a code of the list; what the provider and the address have said is repeated nowhere but in the log."""

    async def reached(browser: Browser, address: str) -> str:
        answer = await browser.send("GET", address, headers=OPENS)
        assert (answer.status_code, answer.text) == (303, ""), address
        return answer.headers["location"]

    async with Browser() as browser, Browser() as other:
        callback = f"{here.url}/auth/callback"
        assert await reached(browser, f"{callback}?code=x&state=y") == "/sign-in?error=other_browser"
        begun = await browser.sign_in(here.login_url(return_to="/t/acme?a=1"), "ada", stop_at=callback)
        stolen = begun.headers["location"]
        assert await reached(other, stolen) == "/sign-in?error=other_browser"
        assert await reached(browser, f"{callback}?code=x&state=another") == "/sign-in?error=other_browser"
        state = str(httpx.URL(stolen).params["state"])
        injected = "%3Cscript%3Ealert%281%29%3C%2Fscript%3E"
        refused = await reached(
            browser, f"{callback}?state={state}&error={injected}&error_description=%0d%0aset-cookie"
        )
        assert refused == "/sign-in?error=refused&return_to=%2Ft%2Facme%3Fa%3D1"
        assert await reached(browser, stolen) == "/sign-in?error=other_browser", "the state was forgotten"
        begun = await browser.sign_in(here.login_url(return_to="/"), "ada", stop_at=callback)
        here.provider.token_override = "no.such.token"
        assert await reached(browser, begun.headers["location"]) == "/sign-in?error=not_accepted"
        here.provider.token_override = None
        page = await browser.send("GET", f"{here.url}/sign-in?error=refused", headers=OPENS)
        assert "The identity provider has refused to sign you in" in page.text
    reasons = [line for line in log_lines(here.face.log_text) if line["message"] == "somebody could not sign in"]
    assert [line["failure"] for line in reasons].count("refused") == 1
    assert "alert(1)" in str(reasons)
    assert "\nset-cookie" not in str([line["reason"] for line in reasons])


async def test_requests_to_sign_in_are_limited_by_address(servers: DirectoryServers, tmp_path: Path) -> None:
    async with place(servers, tmp_path, KEYFERRY_SIGN_INS_PER_MINUTE="5", KEYFERRY_FAILURES_PER_MINUTE="5") as here:
        answers = [await here.ask("GET", "/auth/methods") for _ in range(9)]
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        assert answers[-1].status_code == 429
        async with Browser() as browser:
            opened = await browser.send("GET", here.login_url(), headers=OPENS)
        assert (opened.status_code, opened.headers["location"]) == (303, "/sign-in?error=too_many_attempts")
        assert int(answers[-1].headers["retry-after"]) >= 1
        bad = [await here.ask("GET", SESSION, "kfs_" + "0" * 46) for _ in range(9)]
        assert bad[0].status_code == 401
        assert bad[-1].status_code == 429
        assert (await here.face.client.get(SESSION)).status_code == 200, "a good credential is accepted all the same"
