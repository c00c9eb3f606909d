"""What there is at which URL, and what to say of all others. Pure."""

from collections.abc import Mapping
from types import MappingProxyType

from keyferry.contracts.text import clean
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
MODELS = "/v1/models"
MODEL = "/v1/models/{model}"
HEALTHZ = "/healthz"
READYZ = "/readyz"

_METHODS: Mapping[str, str] = MappingProxyType(
    {CHAT: "POST", EMBEDDINGS: "POST", MODELS: "GET", MODEL: "GET", HEALTHZ: "GET", READYZ: "GET"}
)
_ALSO_ALLOWED = {"GET": ("GET", "HEAD", "OPTIONS"), "POST": ("POST", "OPTIONS")}
_AVAILABLE = ", ".join(f"{_METHODS[path]} {path}" for path in (CHAT, EMBEDDINGS, MODELS, MODEL))
_UNSUPPORTED = {
    "completions": "send a chat to /v1/chat/completions instead",
    "responses": "send a chat to /v1/chat/completions instead",
    "messages": "use an OpenAI SDK, or send a chat to /v1/chat/completions instead",
    **dict.fromkeys(
        ("assistants", "audio", "batches", "containers", "conversations", "evals", "files", "fine_tuning", "images"),
        "",
    ),
    **dict.fromkeys(
        ("moderations", "organization", "realtime", "rerank", "threads", "uploads", "vector_stores", "videos"),
        "",
    ),
}
"""What to do in place of APIs of OpenAI and Anthropic, by the part of the path after `/v1/`; empty where nothing does."""
_LONGEST_PATH = 200


def find_route(method: str, path: str) -> str:
    """Return the route of a request. Raises HttpProblem 404 and 405, which say what there is instead."""
    route = MODEL if path.startswith(f"{MODELS}/") and len(path) > len(MODELS) + 1 else path
    if route not in _METHODS:
        raise HttpProblem(404, INVALID_REQUEST, "unknown_url", _explain_unknown(method, path))
    allowed = _ALSO_ALLOWED[_METHODS[route]]
    if method not in allowed:
        message = f"{clean(path, _LONGEST_PATH)} takes {_METHODS[route]}, not {method}"
        raise HttpProblem(405, INVALID_REQUEST, "method_not_allowed", message, headers={"allow": ", ".join(allowed)})
    return route


def allowed_methods(route: str) -> str:
    """Return the value of `Allow` for a route."""
    return ", ".join(_ALSO_ALLOWED[_METHODS[route]])


def _explain_unknown(method: str, path: str) -> str:
    return f"there is nothing at {method} {clean(path, _LONGEST_PATH)}: {_hint(path)}"


def _hint(path: str) -> str:
    shortened = path.rstrip("/")
    if path != shortened and shortened in _METHODS:
        return f"leave out the slash at the end of {shortened}"
    if _is_route(f"/v1{shortened}"):
        return f"the API is under /v1, so send this to /v1{shortened}; is the base URL without /v1?"
    if path.startswith("/v1/v1/"):
        return "it begins with /v1 twice; does the base URL end with /v1 although the program adds it too?"
    if path.startswith("/openai/"):
        return f"URLs in the style of Azure are not supported; there are {_AVAILABLE}"
    if path.startswith("/api/v1"):
        return f"the management API is at a port of its own; there are {_AVAILABLE}"
    name = path.removeprefix("/v1/").partition("/")[0]
    if name in _UNSUPPORTED:
        instead = f": {_UNSUPPORTED[name]}" if _UNSUPPORTED[name] else ""
        return f"this API is not supported{instead}; there are {_AVAILABLE}"
    return f"there are {_AVAILABLE}"


def _is_route(path: str) -> bool:
    return path in _METHODS or path.startswith(f"{MODELS}/")
