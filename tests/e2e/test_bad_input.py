"""Bad input over real HTTP: a clear message with the way out, and nothing half done."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.support.providers.upstream import ProviderRequest, Reply, Upstream, pieces_of, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

GOOD: dict[str, Any] = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}


def post(system: KeyferrySystem, content: bytes, *, token: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {token or system.token}", "content-type": "application/json"}
    return httpx.post(f"{system.http_url}/v1/chat/completions", content=content, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        (b"[]", 400, "invalid_type"),
        (json.dumps(GOOD | {"messages": 3}).encode(), 400, "invalid_value"),
        (json.dumps(GOOD | {"stream": "no"}).encode(), 400, "invalid_value"),
        (json.dumps({"messages": []}).encode(), 400, "missing_required_parameter"),
        (json.dumps(GOOD | {"model": "gpt-99"}).encode(), 404, "model_not_found"),
        (json.dumps(GOOD | {"n": 2}).encode(), 400, "bad_request"),
        (json.dumps(GOOD | {"messages": [{"role": "system", "content": "x"}]}).encode(), 400, "bad_request"),
    ],
)
def test_each_has_its_status_code_and_message(system: KeyferrySystem, content: bytes, status: int, code: str) -> None:
    response = post(system, content)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert len(error["message"]) > 10
    assert error["keyferry"]["request_id"] == response.headers["x-request-id"]


_KEY = "key_00000000000000000000000001"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("keys", "test", _KEY), _KEY),
        (("keys", "rotate", _KEY, "--key-file", "-"), _KEY),
        (("keys", "revert", _KEY), _KEY),
        (("keys", "edit", _KEY, "--label", "new"), _KEY),
        (("keys", "enable", _KEY), _KEY),
        (("keys", "disable", _KEY), _KEY),
        (("keys", "rm", _KEY, "--yes"), _KEY),
        (("tokens", "revoke", "tok_00000000000000000000000001"), "tok_00000000000000000000000001"),
        (("endpoints", "rm", "nosuch"), "nosuch"),
        (("models", "--provider", "nosuch"), "nosuch"),
        (("keys", "list", "--tenant", "nosuch"), "nosuch"),
        (("usage", "--tenant", "nosuch"), "nosuch"),
        (("restart", "nosuch"), "nosuch"),
        (("usage", "--since", "2999-01-01"), "2999-01-01"),
    ],
)
def test_a_command_about_something_unknown_fails_and_names_it(
    system: KeyferrySystem, arguments: tuple[str, ...], named: str
) -> None:
    printed = system.cli(*arguments, status=1, stdin="sk-proj-something-plausible\n")
    assert printed.startswith("keyferry: ")
    assert named in printed


def test_an_unknown_model_is_the_sdk_s_not_found(system: KeyferrySystem) -> None:
    with pytest.raises(openai.NotFoundError, match="GET /v1/models lists: echo"):
        system.openai().chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "x"}])


def test_a_body_over_the_limit_is_a_413_that_names_it(system: KeyferrySystem) -> None:
    big = json.dumps(GOOD | {"messages": [{"role": "user", "content": "x" * (6 * 1024 * 1024)}]}).encode()
    response = post(system, big)
    assert response.status_code == 413
    assert "6291456 bytes" in response.json()["error"]["message"]


def test_a_body_over_the_limit_without_a_length_is_noticed_too(system: KeyferrySystem) -> None:
    def endless() -> Any:
        for _ in range(200):
            yield b" " * 65536

    headers = {"authorization": f"Bearer {system.token}"}
    response = httpx.post(f"{system.http_url}/v1/chat/completions", content=endless(), headers=headers, timeout=30)
    assert response.status_code == 413


def test_a_body_of_almost_the_limit_passes_every_hop(system: KeyferrySystem) -> None:
    text = "word " * (1024 * 1024)
    body = json.dumps(GOOD | {"messages": [{"role": "user", "content": text}]}).encode()

    def answered() -> httpx.Response | None:
        """Retry while a busy machine answers that reading such a body takes too long."""
        response = post(system, body)
        if response.status_code == 503:
            assert response.json()["error"]["keyferry"]["retryable"], response.text
            return None
        return response

    response = until("a worker has the time", answered)
    assert response.status_code == 200, response.text[:500]
    assert response.json()["choices"][0]["message"]["content"] == text


@pytest.mark.parametrize("token", ["nonsense", "kf_live_" + "0" * 46, "sk-proj-1234567890abcdef"])
def test_an_invalid_client_token_gets_a_401_that_does_not_repeat_it(system: KeyferrySystem, token: str) -> None:
    response = post(system, json.dumps(GOOD).encode(), token=token)
    assert response.status_code == 401
    assert token not in response.text


def test_a_revoked_token_stops_working_and_says_so(system: KeyferrySystem) -> None:
    made = json.loads(system.cli("tokens", "create", "--tenant", "demo", "--label", "to be revoked", "--json"))
    token, token_id = made["token"], made["token_id"]
    until("the new token works", lambda: post(system, json.dumps(GOOD).encode(), token=token).status_code == 200)
    system.cli("tokens", "revoke", token_id, "--tenant", "demo")
    until("the token is refused", lambda: post(system, json.dumps(GOOD).encode(), token=token).status_code == 401)
    assert "revoked" in post(system, json.dumps(GOOD).encode(), token=token).text


def test_unknown_paths_and_methods_are_reported(system: KeyferrySystem) -> None:
    headers = {"authorization": f"Bearer {system.token}"}
    assert httpx.post(f"{system.http_url}/v1/nothing", headers=headers).json()["error"]["code"] == "unknown_url"
    wrong = httpx.get(f"{system.http_url}/v1/chat/completions", headers=headers)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST, OPTIONS")


def test_invalid_headers_are_reported(system: KeyferrySystem) -> None:
    for name, value in (("X-Operation", "a b"), ("x-keyferry-tags", "novalue")):
        headers = {"authorization": f"Bearer {system.token}", name: value}
        response = httpx.post(f"{system.http_url}/v1/chat/completions", json=GOOD, headers=headers)
        assert (response.status_code, response.json()["error"]["param"]) == (400, name)


def test_a_malformed_http_request_does_not_affect_others(system: KeyferrySystem) -> None:
    host, port = system.http_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(b"\x16\x03\x01 not http at all\r\n\r\n")
        raw.recv(1000)
    assert post(system, json.dumps(GOOD).encode()).status_code == 200


NASTY = "served\x00\x1b[31m\ud800"


def answers_nastily(request: ProviderRequest) -> Reply:
    """Answer in full, with text that no table can hold."""
    document = {
        "id": "c\x00",
        "object": "chat.completion",
        "created": 1,
        "model": NASTY,
        "service_tier": NASTY,
        "system_fingerprint": NASTY,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": NASTY}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(document).encode()))


@pytest.fixture(scope="module")
def upstream(system: KeyferrySystem) -> Iterator[Upstream]:
    """The endpoint `up` of the demo tenant, which answers any model."""
    with running_upstream(answers_nastily) as running:
        system.add_endpoint("up", running.base_url)
        until("up is offered", lambda: post(system, asking("up/ready")).status_code == 200)
        yield running
        system.cli("endpoints", "rm", "up", "--tenant", "demo")


def asking(model: str, **changes: object) -> bytes:
    return json.dumps(GOOD | {"model": model} | changes).encode()


@pytest.mark.parametrize(
    "model", ["up/raw\x00x", "up/\x1b[31m", "up/a\r\nb: c", "up/\u202e", "up/\ud800", "up/" + "x" * 400]
)
def test_a_model_that_cannot_be_recorded_is_refused_before_anything_is_called(
    system: KeyferrySystem, upstream: Upstream, model: str
) -> None:
    before = len(upstream.calls)
    for stream in (False, True):
        response = post(system, asking(model, stream=stream))
        error = response.json()["error"]
        assert response.status_code == 400, response.text
        assert error["param"] == ("model" if "\ud800" not in model else None)
    assert len(upstream.calls) == before


def test_what_a_provider_reports_is_accounted_for_whatever_it_is(system: KeyferrySystem, upstream: Upstream) -> None:
    response = post(system, asking("up/ünïcode 模型"))
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == "hello"
    assert response.headers["x-keyferry-model"] == "%C3%BCn%C3%AFcode %E6%A8%A1%E5%9E%8B"
    (row,) = system.attempts(response.headers["x-request-id"])
    record = row["record"]
    assert (record["model"], record["model_served"]) == ("ünïcode 模型", "served\ufffd\ufffd[31m\ufffd")
    assert record["token_usage"]["input"] + record["token_usage"]["output"] == 9
    assert record.get("unkept", []) == []
