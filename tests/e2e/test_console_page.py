"""The console's page in a running system: the printed link signs in, and the page may call the gateway from a browser."""

import re
import time

import httpx

from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

HTML = {"accept": "text/html,*/*;q=0.8"}


def console_of(system: KeyferrySystem) -> httpx.Client:
    return httpx.Client(base_url=str(system.state["console_url"]), trust_env=False, timeout=30)


def test_the_printed_link_signs_in_as_an_owner_and_operator_once(system: KeyferrySystem) -> None:
    url = str(system.state["console_url"])
    [code] = re.findall(rf"{re.escape(url)}/auth/code#(kfc_\S+)", (system.home / "up.log").read_text())
    with console_of(system) as browser:
        redeemed = browser.post("/auth/code", json={"code": code, "browser": True}, headers={"origin": url})
        assert redeemed.json() == {"return_to": "/"}
        session = until("the session is known", lambda: known_session(browser))
        assert (session["tenant"], session["role"], session["operator"]) == ("demo", "owner", True)
        assert browser.get("/api/v1/ops/tenants").status_code == 200
        again = browser.post("/auth/code", json={"code": code, "browser": True}, headers={"origin": url})
        assert again.json() == {"return_to": "/sign-in?error=used_link"}
    for log in (system.home / "log").glob("*.log"):
        assert code not in log.read_text(), log.name


def known_session(browser: httpx.Client) -> dict[str, object] | None:
    answer = browser.get("/api/v1/session")
    return dict(answer.json()) if answer.status_code == 200 else None


def test_the_page_or_a_notice_is_served_with_the_headers_of_the_server(system: KeyferrySystem) -> None:
    with console_of(system) as browser:
        for path in ("/", "/t/demo/usage", "/sign-in"):
            answer = browser.get(path, headers=HTML)
            assert answer.status_code in (200, 503), "built or not, as the test's system builds none"
            assert answer.headers["content-type"] == "text/html; charset=utf-8"
            assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
            assert answer.headers.get_list("referrer-policy") == ["same-origin"]
            assert answer.headers.get_list("cache-control") == ["no-store"]
            [policy] = answer.headers.get_list("content-security-policy")
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            head = browser.head(path, headers=HTML)
            assert (head.status_code, head.content) == (answer.status_code, b"")
        assert browser.post("/", headers=HTML).status_code == 405
        missing = browser.get("/assets/nothing.js")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "unknown_url")
        assert browser.get("/api/v1/session", headers=HTML).headers["content-type"] == "application/json"
        assert browser.get(f"/{'x' * 9000}").status_code == 414, "the limits of the server hold for the page as well"


def test_the_playground_may_call_the_gateway_and_read_what_it_says(system: KeyferrySystem) -> None:
    origin = str(system.state["console_url"])
    with httpx.Client(base_url=system.http_url, trust_env=False, timeout=30) as browser:
        asked = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        allowed = browser.options("/v1/chat/completions", headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == origin
        assert allowed.headers["access-control-max-age"] == "600"
        foreign = browser.options("/v1/chat/completions", headers={**asked, "origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
        began = time.monotonic()
        body = {"model": "echo", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        sent = {"origin": origin, "authorization": f"Bearer {system.token}"}
        with browser.stream("POST", "/v1/chat/completions", json=body, headers=sent) as answer:
            assert answer.status_code == 200
            exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].lower().split(",")}
            own = {name for name in answer.headers if name.startswith("x-keyferry-")}
            assert own, "there is something to read"
            assert own | {"x-request-id"} <= exposed
            assert answer.headers["access-control-allow-origin"] == origin
            text = answer.read().decode()
        assert "Hello" in text
        assert text.rstrip().endswith("data: [DONE]")
        assert time.monotonic() - began < 30
