"""Limits, headers and readiness, which apply to every request."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.topology import KEY_ADD
from services.console.bodies import exceeds_depth
from services.console.middleware import MAX_BODY_BYTES, MAX_JSON_DEPTH
from tests.unit.console.surface import AUTHORIZED, KEY, Surface, error, stored

OWN = "/api/v1/provider-keys"
NEW = {"provider": "openai", "label": "main", "key": KEY}


async def raw(surface: Surface, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    sent = {**AUTHORIZED, "content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return await surface.ask("POST", OWN, headers=sent, content=content)


async def in_pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece


async def test_largest_body_passes_and_one_byte_more_is_rejected() -> None:
    surface = Surface()
    surface.bus.answers(KEY_ADD, stored())
    whole = json.dumps(NEW).encode().ljust(MAX_BODY_BYTES)
    assert (await raw(surface, whole)).status_code == 201
    assert (await raw(surface, in_pieces(whole[:1000], whole[1000:]))).status_code == 201
    assert error(await raw(surface, whole + b" ")) == (413, "request_too_large", None)
    assert error(await raw(surface, in_pieces(whole, b" "))) == (413, "request_too_large", None)
    assert error(await raw(surface, b"{}", content_length="9" * 30)) == (413, "request_too_large", None)


@pytest.mark.parametrize(
    "members", ['"label": "a", "label": "b"', f'"{KEY}": 1, "{KEY}": 2', '"a": [{"b": 1, "\\u0062": 1}]']
)
async def test_a_repeated_name_is_refused_without_showing_it(members: str) -> None:
    surface = Surface()
    surface.bus.answers(KEY_ADD, stored())
    response = await raw(surface, (json.dumps(NEW)[:-1] + f", {members}}}").encode())
    assert error(response) == (400, "invalid_json", None)
    assert KEY not in response.text
    assert surface.bus.asked == []


async def test_unauthenticated_body_is_not_read() -> None:
    taken: list[bytes] = []

    async def pieces() -> AsyncIterator[bytes]:
        taken.append(b"x")
        yield b"x"

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        taken.append(b"x")
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": OWN, "headers": [], "query_string": b""}
    await Surface().middleware(scope, receive, send)
    assert sent[0]["status"] == 401
    assert taken == []


async def test_slow_body_times_out() -> None:
    surface = Surface(upload_timeout_seconds=0.05)
    never = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    response = await raw(surface, pieces())
    assert error(response) == (408, "timeout", None)
    assert response.headers["connection"] == "close"


async def test_client_that_disconnects_during_upload_gets_no_response() -> None:
    sent: list[object] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(name.encode(), value.encode()) for name, value in AUTHORIZED.items()]
    scope = {"type": "http", "method": "POST", "path": OWN, "headers": headers, "query_string": b""}
    await Surface().middleware(scope, receive, send)
    assert sent == []


async def test_compressed_body_is_rejected() -> None:
    assert error(await raw(Surface(), b"\x1f\x8b", content_encoding="gzip")) == (415, "unsupported_encoding", None)


async def test_deep_body_is_rejected_before_parsing() -> None:
    surface = Surface()
    for depth, code in (
        (MAX_JSON_DEPTH, "unknown_field"),
        (MAX_JSON_DEPTH + 1, "invalid_json"),
        (30_000, "invalid_json"),
    ):
        body = json.dumps(NEW).encode()[:-1] + b',"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"
        assert error(await raw(surface, body))[:2] == (400, code)


@pytest.mark.parametrize("path", ["/healthz", OWN, "/api/v1/providers", "/nothing"])
@pytest.mark.parametrize("headers", [{}, AUTHORIZED])
async def test_every_response_has_its_headers(path: str, headers: dict[str, str]) -> None:
    surface = Surface()
    surface.store(stored())
    response = await surface.ask("GET", path, headers={**headers, "origin": "https://evil.example"})
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"].startswith("req_")
    assert "set-cookie" not in response.headers
    assert not [name for name in response.headers if name.startswith("access-control-")]


async def test_cross_origin_requests_are_not_allowed() -> None:
    preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    assert error(await Surface().ask("OPTIONS", OWN, headers=preflight))[0] == 401
    answer = await Surface().ask("OPTIONS", OWN, headers={**AUTHORIZED, **preflight})
    assert error(answer) == (405, "method_not_allowed", None)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_unknown_methods_and_paths_are_rejected() -> None:
    surface = Surface()
    wrong = await surface.ask("PUT", OWN, {})
    assert error(wrong) == (405, "method_not_allowed", None)
    assert wrong.headers["allow"]
    for path in (
        "/api/v1/provider-keys/",
        "/api/v1//provider-keys",
        "/api/v2/provider-keys",
        "/api",
        "/api/v1/ops/nothing",
    ):
        assert error(await surface.ask("GET", path)) == (404, "unknown_url", None)


async def test_health_and_readiness_need_no_credential() -> None:
    surface = Surface()
    assert (await surface.ask("GET", "/healthz", headers={})).json() == {"status": "ok"}
    ready = await surface.ask("GET", "/readyz", headers={})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "waiting_for": []})
    surface.waiting.append("the bus (NATS)")
    waiting = await surface.ask("GET", "/readyz", headers={})
    assert (waiting.status_code, waiting.json()["status"]) == (503, "waiting")
    assert waiting.json()["waiting_for"] == ["the bus (NATS)"]
    assert (await surface.ask("GET", "/healthz", headers={})).status_code == 200
    refused = await surface.ask("GET", OWN)
    assert error(refused) == (503, "unavailable", None)
    assert "waiting for the bus (NATS)" in refused.json()["error"]["message"]
    assert refused.headers["retry-after"] == "1"


async def test_draining_process_is_not_ready() -> None:
    response = await Surface(draining=True).ask("GET", "/readyz", headers={})
    assert (response.status_code, response.json()["status"]) == (503, "draining")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.booleans())
def test_depth_matches_the_parsed_value(value: object, ascii_only: bool) -> None:
    data = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    depth = depth_of(value)
    assert not exceeds_depth(data, depth)
    assert depth == 0 or exceeds_depth(data, depth - 1)


@given(st.binary(max_size=200))
def test_depth_is_bounded_for_any_bytes(data: bytes) -> None:
    assert not exceeds_depth(data, len(data))
