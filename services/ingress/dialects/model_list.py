"""`GET /v1/models`: OpenAI's list with Keyferry's query filters, and the catalog's data under `keyferry`. Pure."""

from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.model_filter import InvalidFilter, filters_in
from keyferry.contracts.route import ListModels, Model, Models
from keyferry.contracts.tenancy import ClientToken, Tier
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

_FILTERS = "filter takes eu, recommended, recommended:<operation> or provider:<name>, several separated by commas"
_CHOICES: dict[str, type[StrEnum]] = {"tier": Tier, "class": ModelClass, "capability": Capability, "sort": ModelSort}
_FIELDS = {"class": "model_class"}
_TOP_LEVEL_FIELDS = {"id"}

Choice = TypeVar("Choice", bound=StrEnum)


def build_query(token: ClientToken, query: str) -> ListModels:
    """Return the router query for this token and URL query string. Raises HttpProblem 400.

    Unknown parameters, as other gateways define them, are ignored.
    """
    fields: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "filter":
            fields |= _parse_filter(value)
        elif name in _CHOICES:
            fields[_FIELDS.get(name, name)] = _parse_choice(name, value, _CHOICES[name])
        elif name in ("available", "approved"):
            fields[f"un{name}"] = _is_all(name, value) or None
    caller = {
        "tenant": token.tenant,
        "team": token.team,
        "member": token.member,
        "client_token_id": token.token_id,
        "allowed_models": token.allowed_models,
    }
    return ListModels.model_validate({**caller, **fields})


def _parse_filter(text: str) -> dict[str, object]:
    try:
        return filters_in(text)
    except InvalidFilter:
        raise HttpProblem(400, INVALID_REQUEST, "invalid_value", _FILTERS, param="filter") from None


def _parse_choice(name: str, value: str, choices: type[Choice]) -> Choice:
    try:
        return choices(value)
    except ValueError:
        message = f"invalid value for {name}: it should be one of {', '.join(choices)}"
        raise HttpProblem(400, INVALID_REQUEST, "invalid_value", message, param=name) from None


def _is_all(name: str, value: str) -> bool:
    if value not in ("true", "all"):
        message = f"invalid value for {name}: it should be true (only those) or all"
        raise HttpProblem(400, INVALID_REQUEST, "invalid_value", message, param=name)
    return value == "all"


def render_list(models: Models) -> bytes:
    """Render the body of `GET /v1/models`."""
    return orjson.dumps({"object": "list", "data": [_to_object(model) for model in models.models]})


def render_model(models: Models, model_id: str) -> bytes:
    """Render the body of `GET /v1/models/{id}`. Raises HttpProblem 404."""
    for model in models.models:
        if model.id == model_id:
            return orjson.dumps(_to_object(model))
    message = f"the model {model_id!r} is not offered to this tenant"
    raise HttpProblem(404, INVALID_REQUEST, "model_not_found", message, param="model")


def _to_object(model: Model) -> dict[str, Any]:
    known = model.model_dump(mode="json", exclude=_TOP_LEVEL_FIELDS, exclude_none=True)
    owner = model.maker or model.endpoint or model.provider
    return {"id": model.id, "object": "model", "created": 0, "owned_by": owner, "keyferry": known}
