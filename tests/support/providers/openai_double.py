"""A provider on loopback that speaks OpenAI's dialect and serves known keys only; its log has the key of each call.

The errors have the shape of OpenAI's: status, `type`, `code` and `param` as its error reference gives them
(https://platform.openai.com/docs/guides/error-codes) and as recorded traffic has them.
"""

import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.providers.scripted_answers import by_script, is_script
from tests.support.providers.upstream import (
    Call,
    ProviderRequest,
    Reply,
    Upstream,
    completion,
    failing,
    pieces_of,
    running_upstream,
    stream_of,
)

CHAT_MODEL, EMBEDDING_MODEL = "gpt-4o-mini", "text-embedding-3-small"
PREFIX = "sk-proj-"
WORDS = ["well", " done"]
ANSWER = "".join(WORDS)
VECTOR = [1.0, 0.5, -2.25]
_JSON = {"content-type": "application/json"}

Denial = Callable[[], Reply]
"""Makes the reply to every request with a key."""


def fresh_key() -> str:
    """Return a key in OpenAI's format that no provider knows yet."""
    return f"{PREFIX}{secrets.token_hex(20)}A9f2"


def unknown_key() -> Reply:
    """Return the reply to a key that is wrong, revoked or missing."""
    message = "Incorrect API key provided: sk-proj-********A9f2. You can find your API key at https://platform.openai.com/account/api-keys."
    return failing(401, {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"})


def out_of_money() -> Reply:
    """Return the reply to an account without credit."""
    message = "You exceeded your current quota, please check your plan and billing details."
    return failing(429, {"message": message, "type": "insufficient_quota", "param": None, "code": "insufficient_quota"})


def over_rate() -> Reply:
    """Return the reply to an account over its rate limit."""
    message = "Rate limit reached for gpt-4o-mini on requests per min (RPM): Limit 3, Used 3, Requested 1."
    error = {"message": message, "type": "requests", "param": None, "code": "rate_limit_exceeded"}
    return failing(429, error, {"retry-after": "20"})


def forbidden() -> Reply:
    """Return the reply to a key whose scope does not cover the request."""
    message = "You have insufficient permissions for this operation. Missing scopes: model.request."
    return failing(403, {"message": message, "type": "invalid_request_error", "param": None, "code": None})


def crashed() -> Reply:
    """Return the reply of a server that has crashed."""
    message = "The server had an error while processing your request. Sorry about that!"
    return failing(500, {"message": message, "type": "server_error", "param": None, "code": None})


@dataclass
class ProviderDouble:
    """The running provider. `known` are the keys that it serves; those with a denial get that instead of an answer."""

    upstream: Upstream
    known: dict[str, Denial | None] = field(default_factory=dict)
    down: Denial | None = None
    """The reply to everybody, with any key."""

    @property
    def base_url(self) -> str:
        return self.upstream.base_url

    @property
    def calls(self) -> list[Call]:
        """Its own log of all requests."""
        return list(self.upstream.calls)

    def issue(self, denial: Denial | None = None) -> str:
        """Return a new key that the provider knows from now on."""
        key = fresh_key()
        self.known[key] = denial
        return key

    def deny(self, key: str, denial: Denial | None) -> None:
        """Reply to this key so from now on; None serves it."""
        self.known[key] = denial

    def withdraw(self, key: str) -> None:
        """Stop knowing this key, as when it is revoked at the provider."""
        del self.known[key]

    def mark(self) -> int:
        """Return the current position in the log, for `keys_since`."""
        return len(self.upstream.calls)

    def last_used(self, key: str) -> float:
        """Return when a call with this key last arrived, by the monotonic clock (seconds). Raises ValueError if none has."""
        return max(call.at for call in self.calls if key_of(call.request) == key)

    def keys_since(self, mark: int) -> Counter[str]:
        """Count the calls with each key since then, key tests included."""
        return Counter(key_of(call.request) for call in self.calls[mark:])

    def answer(self, request: ProviderRequest) -> Reply:
        """Return the reply to this request."""
        if self.down is not None:
            return self.down()
        key = key_of(request)
        if key not in self.known:
            return unknown_key()
        denial = self.known[key]
        return denial() if denial is not None else good_reply(request)


def key_of(request: ProviderRequest) -> str:
    """Return the key in a request's headers, or an empty string."""
    header = next((value for name, value in request.headers.items() if name.lower() == "authorization"), "")
    return header.removeprefix("Bearer ")


def good_reply(request: ProviderRequest) -> Reply:
    """Return the reply to a key that is known."""
    if request.path.endswith("/models"):
        listed = [
            {"id": name, "object": "model", "created": 1, "owned_by": "system"}
            for name in (CHAT_MODEL, EMBEDDING_MODEL)
        ]
        return Reply(200, _JSON, pieces_of(json.dumps({"object": "list", "data": listed}).encode()))
    model = str(request.body.get("model"))
    if request.path.endswith("/embeddings"):
        return _embeddings_reply(request, model)
    if is_script(request.body):
        return by_script(request)
    if request.body.get("stream"):
        return stream_of(WORDS)
    return completion(ANSWER, model=model)


def _embeddings_reply(request: ProviderRequest, model: str) -> Reply:
    given = request.body["input"]
    texts = given if isinstance(given, list) else [given]
    rows = [{"object": "embedding", "index": at, "embedding": VECTOR} for at in range(len(texts))]
    body = {"object": "list", "data": rows, "model": model, "usage": {"prompt_tokens": 4, "total_tokens": 4}}
    return Reply(200, _JSON, pieces_of(json.dumps(body).encode()))


@contextmanager
def running_provider() -> Iterator[ProviderDouble]:
    """Run a provider that knows no key yet."""
    doubles: list[ProviderDouble] = []
    with running_upstream(lambda request: doubles[0].answer(request)) as upstream:
        doubles.append(ProviderDouble(upstream))
        yield doubles[0]
