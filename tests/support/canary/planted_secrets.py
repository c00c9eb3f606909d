"""The secrets to plant, and a provider on loopback that leaks some of them in everything except its answers."""

import base64
import json
import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from keyferry.contracts import client_token
from tests.support.canary.searcher import Canary
from tests.support.providers.upstream import (
    ProviderRequest,
    Reply,
    chunk,
    completion,
    event,
    failing,
    pieces_of,
    stream_of,
)

_BASE62 = string.ascii_letters + string.digits
_KEY = "sk-proj-"
SHARED = "shared"
"""A model that a second endpoint has as well, where it leaks nothing."""
SPARE = "/spare"
"""What the paths of that second endpoint begin with."""
_SEED_PREFIX_CHARACTERS = 4
"""Of an nkey seed: its kind, and what every seed of a user begins with."""


def random_text(length: int = 40) -> str:
    """Letters and digits, at least one of either case and one digit: as keys are made."""
    return "".join(secrets.choice(_BASE62) for _ in range(length - 3)) + "aZ7"


def provider_key(name: str) -> Canary:
    """Return a key in OpenAI's format."""
    return Canary(name, _KEY + random_text(), _KEY)


def client_token_named(name: str, text: str) -> Canary:
    """Return a client token as a secret."""
    return Canary(name, text, client_token.PREFIX)


def mistyped(token: str) -> str:
    """Return the token with one wrong character in the middle."""
    middle = len(token) // 2
    return token[:middle] + ("a" if token[middle] != "a" else "b") + token[middle + 1 :]


def installation_secrets(home: Path) -> Iterator[Canary]:
    """Yield what the launcher made for this installation; the system must be running."""
    secrets_dir = home / "secrets"
    for file in sorted((secrets_dir / "nkeys").glob("*.seed")):
        seed = file.read_text().strip()
        yield Canary(f"nkey seed of {file.stem}", seed, seed[:_SEED_PREFIX_CHARACTERS])
    for file in sorted((secrets_dir / "database").glob("*.url")):
        yield Canary(f"database password of {file.stem}", str(make_url(file.read_text().strip()).password))
    yield Canary("token pepper", (secrets_dir / "token-pepper").read_text().strip())
    yield client_token_named("demo token", (secrets_dir / "demo-client-token").read_text().strip())


@dataclass(frozen=True)
class LeakyReply:
    """One way in which a provider gives a secret away; `model` asks for it."""

    model: str
    canary: Canary
    reply: Callable[[str], Reply]
    """Makes the reply from the secret's text."""
    modes: tuple[bool, ...] = (True, False)
    """Whether to ask for a stream."""


def _says(status: int, message: str, headers: Mapping[str, str] | None = None) -> Callable[[str], Reply]:
    def reply(text: str) -> Reply:
        filled = {name: value.replace("SECRET", text) for name, value in (headers or {}).items()}
        return failing(status, {"message": message.replace("SECRET", text), "type": "error"}, filled)

    return reply


def _body(status: int, kind: str, before: str, after: str = "") -> Callable[[str], Reply]:
    return lambda text: Reply(status, {"content-type": kind}, pieces_of((before + text + after).encode()))


def _everywhere_in_the_error(text: str) -> Reply:
    return failing(400, {"message": text, "code": text, "type": text, "param": text, "status": text})


def _in_the_middle(text: str) -> Reply:
    error = event({"error": {"message": f"key {text} was revoked", "code": text}})
    return Reply(200, {"content-type": "text/event-stream"}, pieces_of(chunk({"content": "half"}), error))


def _packed_into_another(text: str) -> Reply:
    raw = json.dumps({"error": {"message": f"upstream says: bad key {text}"}})
    return failing(502, {"message": "provider returned error", "metadata": {"raw": raw, "provider_name": "x"}})


def leaky_replies() -> list[LeakyReply]:
    """Return every way to leak, each with a secret of its own."""
    org, alone = "org-", random_text(36)
    google = Canary("Google key in an error", "AIza" + random_text(35), "AIza")
    jwt = Canary("JWT in an error", "eyJ" + random_text(60), "eyJ")
    rows: list[tuple[str, Canary, Callable[[str], Reply]]] = [
        ("error-message", provider_key("key in an error"), _says(401, "Incorrect API key provided: SECRET. See docs.")),
        (
            "bearer",
            Canary("bearer in an error", random_text(24)),
            _says(401, "bad header 'Authorization: Bearer SECRET'"),
        ),
        ("headers", provider_key("key in response headers"), _says(401, "no", _ECHOED)),
        (
            "organization",
            Canary("organization in an error", org + random_text(24), org),
            _says(429, "over in SECRET on"),
        ),
        ("everywhere", provider_key("key in every field of an error"), _everywhere_in_the_error),
        ("html", provider_key("key in a page"), _body(500, "text/html", "<html><!-- ", " --><h1>Oops</h1></html>")),
        ("page", provider_key("key in the text of a page"), _body(502, "text/html", "<p>bad key ", "</p>")),
        ("text", provider_key("key in plain text"), _body(403, "text/plain", "forbidden for ")),
        ("unprefixed", Canary("unprefixed key in an error", alone), _says(403, "the key SECRET is disabled")),
        ("query", Canary("key of a URL in an error", random_text(36)), _says(400, "GET https://x.example/?key=SECRET")),
        ("google", google, _says(400, "API key SECRET not valid")),
        ("jwt", jwt, _says(401, "token SECRET expired")),
        ("base64", provider_key("key in base64 in an error"), _says_in_base64),
        ("raw", provider_key("key in a packed error"), _packed_into_another),
        ("mid-stream", provider_key("key in an error event"), _in_the_middle),
        ("garbled", provider_key("key in an answer that is no JSON"), _body(200, "application/json", "oops ")),
        (
            "garbled-event",
            provider_key("key in an event that is no JSON"),
            _body(200, "text/event-stream", "data: ", "\n\n"),
        ),
        ("redirect", provider_key("key in a redirect"), _redirected),
        (SHARED, provider_key("key in a failure before a fallback"), _says(500, "crashed with SECRET")),
    ]
    only = {"mid-stream": (True,), "garbled-event": (True,), "garbled": (False,), SHARED: (False,)}
    return [LeakyReply(*row, modes=only.get(row[0], (True, False))) for row in rows]


_ECHOED = {
    "set-cookie": "session=SECRET",
    "authorization": "Bearer SECRET",
    "x-request-id": "SECRET",
    "openai-organization": "SECRET",
    "retry-after": "SECRET",
}


def _says_in_base64(text: str) -> Reply:
    return failing(401, {"message": f"Basic {base64.b64encode(('user:' + text).encode()).decode()} is not accepted"})


def _redirected(text: str) -> Reply:
    return Reply(302, {"location": f"https://llm.example/v1?key={text}"}, pieces_of(b"moved"))


def leaky_provider(rows: list[LeakyReply]) -> Callable[[ProviderRequest], Reply]:
    """Return a provider that answers well except to the models of `rows`."""
    by_model = {row.model: row for row in rows}

    def answer(request: ProviderRequest) -> Reply:
        model = str(request.body["model"])
        row = by_model.get(model)
        if row is not None and not request.path.startswith(SPARE):
            return row.reply(row.canary.text)
        return stream_of(["well", " done"]) if request.body.get("stream") else completion("well done", model=model)

    return answer
