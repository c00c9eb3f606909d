"""`GET /v1/models`: OpenAI's list, with filters of ours in the query and what the catalog knows under `keyferry`. Pure."""

from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.model_filter import InvalidFilter, filters_in
from keyferry.contracts.route import ListModels, Model, Models
from keyferry.contracts.tenancy import ClientToken, Tier
from services.ingress.problem import Problem

_INVALID = "invalid_request_error"
_FILTERS = "filter takes eu, recommended, recommended:<operation> or provider:<name>, several separated by commas"
_CHOICES: dict[str, type[StrEnum]] = {"tier": Tier, "class": ModelClass, "capability": Capability, "sort": ModelSort}
_FIELDS = {"class": "model_class"}
_SHOWN_APART = {"id"}

Choice = TypeVar("Choice", bound=StrEnum)


def question(token: ClientToken, query: str) -> ListModels:
    """What to ask the router for this token and URL query; parameters of other gateways are ignored. Raises Problem 400."""
    asked: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name == "filter":
            asked |= _filters(value)
        elif name in _CHOICES:
            asked[_FIELDS.get(name, name)] = _choice(name, value, _CHOICES[name])
        elif name in ("available", "approved"):
            asked[f"un{name}"] = _is_all(name, value) or None
    return ListModels.model_validate({"tenant": token.tenant, "allowed_models": token.allowed_models, **asked})


def _filters(text: str) -> dict[str, object]:
    try:
        return filters_in(text)
    except InvalidFilter:
        raise Problem(400, _INVALID, "invalid_value", _FILTERS, param="filter") from None


def _choice(name: str, value: str, choices: type[Choice]) -> Choice:
    try:
        return choices(value)
    except ValueError:
        message = f"invalid value for {name}: it should be one of {', '.join(choices)}"
        raise Problem(400, _INVALID, "invalid_value", message, param=name) from None


def _is_all(name: str, value: str) -> bool:
    if value not in ("true", "all"):
        message = f"invalid value for {name}: it should be true (only those) or all"
        raise Problem(400, _INVALID, "invalid_value", message, param=name)
    return value == "all"


def listed(models: Models) -> bytes:
    """The body of `GET /v1/models`."""
    return orjson.dumps({"object": "list", "data": [_object(model) for model in models.models]})


def one(models: Models, model_id: str) -> bytes:
    """The body of `GET /v1/models/{id}`. Raises Problem 404."""
    for model in models.models:
        if model.id == model_id:
            return orjson.dumps(_object(model))
    message = f"the model {model_id!r} is not offered to this tenant"
    raise Problem(404, _INVALID, "model_not_found", message, param="model")


def _object(model: Model) -> dict[str, Any]:
    known = model.model_dump(mode="json", exclude=_SHOWN_APART, exclude_none=True)
    owner = model.maker or model.endpoint or model.provider
    return {"id": model.id, "object": "model", "created": 0, "owned_by": owner, "keyferry": known}
