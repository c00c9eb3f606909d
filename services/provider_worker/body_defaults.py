"""Preferences that are applied to a chat's body before it is adapted to its provider: temperature, and limits of tokens. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson

from keyferry.contracts.chat import AttemptRun, BodyDefaults
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import RefusedByAdapter, bad_request
from services.provider_worker.adapters.response.json_text import JsonObject, RepairedObject, parse_object, render

T = TypeVar("T")

_LIMITS = ("max_completion_tokens", "max_tokens")
_LIMIT_OF_LLAMACPP = "n_predict"
"""It overrides the others there. Source: the handling of OpenAI-compatible bodies in llama.cpp's server."""
_TEMPERATURE, _MAX_TOKENS = "temperature", "max_tokens"


@dataclass(frozen=True, slots=True)
class Adapted(Generic[T]):
    """What an adapter made of a body, and the parameters that were added to it."""

    result: T
    added: tuple[str, ...] = ()


def adapt_with_defaults(run: AttemptRun, body: bytes, adapt: Callable[[bytes], T]) -> Adapted[T]:
    """Return what `adapt` makes of the body with the defaults of the run, as far as its provider takes them.

    A default never makes a request fail that would be answered without it: what the provider does not take is left out. Only
    the limit of a request stays. Raises RefusedByAdapter, also for a body that asks for more tokens than a request may have.
    """
    defaults = run.body_defaults
    if defaults is None or run.kind is not RequestKind.CHAT or (document := parse_object(body)) is None:
        return Adapted(adapt(body))
    _check_limit(document, defaults.most_tokens)
    additions = _find_additions(document, defaults)
    refused: RefusedByAdapter | None = None
    while additions:
        try:
            return Adapted(adapt(_add(document, body, additions)), tuple(additions))
        except RefusedByAdapter as error:
            refused = refused or error
            param = error.failure.param
            name = param if param in additions else next(iter(additions))
            if name == _MAX_TOKENS and defaults.most_tokens is not None:
                raise refused from None
            del additions[name]
    return Adapted(adapt(body))


def _check_limit(document: JsonObject, most_tokens: int | None) -> None:
    """Raise RefusedByAdapter for a body that asks for more tokens than allowed, or in another form than an integer."""
    if most_tokens is None:
        return
    if isinstance(document.get("n"), float):
        raise bad_request("`n` must be an integer of at least 1.", "n")
    answers = _count_answers(document)
    if answers > most_tokens:
        raise bad_request(
            f"`n` is {answers}, and the preference max_tokens_per_request allows {most_tokens}: ask for less, or have the"
            " preference changed.",
            "n",
        )
    for name in (*_LIMITS, _LIMIT_OF_LLAMACPP):
        value = document.get(name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:  # -1 means no limit to some servers
            raise bad_request(f"`{name}` must be an integer of at least 1.", name)
        if value * answers > most_tokens:
            each = f" for each of {answers} answers" if answers > 1 else ""
            raise bad_request(
                f"`{name}` is {value}{each}, and the preference max_tokens_per_request allows {most_tokens}: ask for less, or"
                " have the preference changed.",
                name,
            )


def _find_additions(document: JsonObject, defaults: BodyDefaults) -> dict[str, int | float]:
    """Return the parameters that the body does not set; temperature first, since a provider rather refuses that."""
    additions: dict[str, int | float] = {}
    if defaults.temperature is not None and document.get(_TEMPERATURE) is None:
        additions[_TEMPERATURE] = defaults.temperature
    if defaults.max_tokens is not None and all(document.get(name) is None for name in _LIMITS):
        most = defaults.most_tokens
        share = defaults.max_tokens if most is None else min(defaults.max_tokens, most // _count_answers(document))
        additions[_MAX_TOKENS] = share
    return additions


def _count_answers(document: JsonObject) -> int:
    """Return how many answers a body asks for, each of which may have as many tokens as its limit says."""
    value = document.get("n")
    return value if isinstance(value, int) and value > 1 else 1


def _add(document: JsonObject, body: bytes, additions: Mapping[str, int | float]) -> bytes:
    """Return the body with the additions in front, so that the caller's own bytes stay as they are where that is possible."""
    if isinstance(document, RepairedObject) or not document or not additions.keys().isdisjoint(document):
        return render({**document, **additions})
    start = body.index(b"{") + 1
    return body[:start] + orjson.dumps(additions)[1:-1] + b"," + body[start:]
