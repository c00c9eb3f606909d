"""Pages that may call an API from a browser: preflight requests, and the headers of every answer."""

from typing import Any, cast

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from keyferry.runtime.http.asgi import Receive, Scope, Send
from keyferry.runtime.http.cors import EXPOSED_HEADERS, Origins, allow_origins

PAGE = "https://app.example.com"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that answers everything with 401."""
    await send({"type": "http.response.start", "status": 401, "headers": [(b"x-request-id", b"req_1")]})
    await send({"type": "http.response.body", "body": b"{}", "more_body": False})


async def ask(origins: set[str], method: str, **headers: str) -> httpx.Response:
    app = allow_origins(refuse, frozenset(origins), ("GET", "POST"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=cast(Any, app)), base_url="http://x.test") as client:
        return await client.request(method, "/v1/models", headers=headers)


def cors_headers(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("access-control-")}


async def test_a_preflight_request_of_an_allowed_page_is_answered() -> None:
    response = await ask({PAGE}, "OPTIONS", **PREFLIGHT)
    assert response.status_code == 200
    assert cors_headers(response) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "authorization,content-type,x-stainless-lang",
        "access-control-max-age": "600",
    }
    assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", f"{PAGE}.evil.example", "null", "http://app.example.com"])
async def test_other_pages_are_not_allowed(origin: str) -> None:
    preflight = await ask({PAGE}, "OPTIONS", **(PREFLIGHT | {"origin": origin}))
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    answer = await ask({PAGE}, "POST", origin=origin)
    assert answer.status_code == 401
    assert "access-control-allow-origin" not in answer.headers


async def test_an_error_has_the_headers_too_so_that_the_page_can_read_it() -> None:
    response = await ask({PAGE}, "POST", origin=PAGE)
    assert response.status_code == 401
    assert cors_headers(response) == {
        "access-control-allow-origin": PAGE,
        "access-control-expose-headers": ", ".join(EXPOSED_HEADERS),
    }
    assert "Origin" in response.headers["vary"]
    assert response.headers["x-request-id"] == "req_1"


async def test_credentials_of_the_browser_are_never_allowed() -> None:
    for origins in ({PAGE}, {"*"}):
        for method in ("OPTIONS", "POST"):
            response = await ask(origins, method, **PREFLIGHT, cookie="a=b")
            assert "access-control-allow-credentials" not in response.headers


async def test_without_the_setting_nothing_is_added() -> None:
    assert allow_origins(refuse, frozenset(), ("GET",)) is refuse


class Settings(BaseModel):
    origins: Origins = frozenset()


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        (" , ", set()),
        ("*", {"*"}),
        (f"{PAGE}, http://localhost:3000", {PAGE, "http://localhost:3000"}),
        ("HTTPS://App.Example.com", {PAGE}),
        ("http://[::1]:3000", {"http://[::1]:3000"}),
    ],
)
def test_the_setting_takes_origins(text: str, origins: set[str]) -> None:
    assert Settings.model_validate({"origins": text}).origins == origins


@pytest.mark.parametrize(
    "text", [f"{PAGE}/", "app.example.com", "null", f"{PAGE}/path", "ftp://x", "https://*.example.com"]
)
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="write origins as a browser sends them"):
        Settings.model_validate({"origins": text})


async def test_more_pages_may_be_allowed_while_it_runs() -> None:
    more = {PAGE}
    app = allow_origins(refuse, frozenset(), ("GET", "POST"), more)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=cast(Any, app)), base_url="http://x.test") as client:
        allowed = await client.options("/v1/models", headers=PREFLIGHT)
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, PAGE)
        answer = await client.post("/v1/models", headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert cors_headers(await client.post("/v1/models", headers={"origin": "https://evil.example"})) == {}
        assert cors_headers(await client.post("/v1/models")) == {}
        more.clear()
        assert cors_headers(await client.post("/v1/models", headers={"origin": PAGE})) == {}
