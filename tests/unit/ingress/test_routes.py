"""URLs that there are not: the answer says what there is."""

import pytest

from keyferry.runtime.http.problem import HttpProblem
from services.ingress.routes import find_route

AVAILABLE = "there are POST /v1/chat/completions, POST /v1/embeddings, GET /v1/models, GET /v1/models/{model}"


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/v1/chat/completions", "/v1/chat/completions"),
        ("POST", "/v1/embeddings", "/v1/embeddings"),
        ("GET", "/v1/models", "/v1/models"),
        ("HEAD", "/v1/models", "/v1/models"),
        ("OPTIONS", "/v1/models", "/v1/models"),
        ("GET", "/v1/models/gpt-4o", "/v1/models/{model}"),
        ("GET", "/v1/models/openai/gpt-4o", "/v1/models/{model}"),
        ("GET", "/healthz", "/healthz"),
        ("HEAD", "/readyz", "/readyz"),
    ],
)
def test_routes(method: str, path: str, route: str) -> None:
    assert find_route(method, path) == route


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        (
            "/chat/completions",
            "the API is under /v1, so send this to /v1/chat/completions; is the base URL without /v1?",
        ),
        ("/models", "the API is under /v1, so send this to /v1/models; is the base URL without /v1?"),
        ("/models/gpt-4o", "the API is under /v1, so send this to /v1/models/gpt-4o; is the base URL without /v1?"),
        ("/v1/v1/chat/completions", "it begins with /v1 twice; does the base URL end with /v1"),
        ("/v1/chat/completions/", "leave out the slash at the end of /v1/chat/completions"),
        ("/v1/models/", "leave out the slash at the end of /v1/models"),
        ("/v1/completions", f"this API is not supported: send a chat to /v1/chat/completions instead; {AVAILABLE}"),
        ("/v1/responses", f"this API is not supported: send a chat to /v1/chat/completions instead; {AVAILABLE}"),
        (
            "/v1/messages",
            "this API is not supported: use an OpenAI SDK, or send a chat to /v1/chat/completions instead",
        ),
        ("/v1/messages/count_tokens", "this API is not supported"),
        ("/v1/audio/speech", "this API is not supported; there are POST /v1/chat/completions"),
        ("/v1/files", "this API is not supported; there are POST /v1/chat/completions"),
        ("/openai/deployments/x/chat/completions", "URLs in the style of Azure are not supported"),
        ("/api/v1/provider-keys", "the management API is at a port of its own"),
        ("/", AVAILABLE),
        ("/v1", AVAILABLE),
        ("/v1/chat", AVAILABLE),
        ("/favicon.ico", AVAILABLE),
    ],
)
def test_an_unknown_url_is_answered_with_what_there_is(path: str, hint: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        find_route("POST", path)
    problem = raised.value
    assert (problem.status, problem.type, problem.code) == (404, "invalid_request_error", "unknown_url")
    assert problem.message.startswith(f"there is nothing at POST {path}: ")
    assert hint in problem.message


def test_a_long_or_unsafe_path_is_not_repeated_whole() -> None:
    with pytest.raises(HttpProblem) as raised:
        find_route("GET", "/v1/\x00\n\u202e" + "x" * 8000)
    assert len(raised.value.message) < 500
    assert not {"\x00", "\n", "\u202e"} & set(raised.value.message)


@pytest.mark.parametrize(
    ("method", "path", "message", "allow"),
    [
        ("GET", "/v1/chat/completions", "/v1/chat/completions takes POST, not GET", "POST, OPTIONS"),
        ("HEAD", "/v1/embeddings", "/v1/embeddings takes POST, not HEAD", "POST, OPTIONS"),
        ("POST", "/v1/models", "/v1/models takes GET, not POST", "GET, HEAD, OPTIONS"),
        ("DELETE", "/v1/models/gpt-4o", "/v1/models/gpt-4o takes GET, not DELETE", "GET, HEAD, OPTIONS"),
    ],
)
def test_a_wrong_method_is_answered_with_the_right_one(method: str, path: str, message: str, allow: str) -> None:
    with pytest.raises(HttpProblem) as raised:
        find_route(method, path)
    problem = raised.value
    assert (problem.status, problem.code, problem.message) == (405, "method_not_allowed", message)
    assert problem.headers == {"allow": allow}
