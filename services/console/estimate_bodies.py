"""The body of a request for an estimate. Pure."""

import json
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, Strict, ValidationError
from pydantic import model_validator as validator_of_model
from pydantic.types import JsonValue
from pydantic_core import PydanticCustomError

from keyferry.contracts.chat import OwnKeys
from keyferry.contracts.estimates import EstimateCost
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.ids import ChosenModel, Operation, Reference
from keyferry.contracts.request_features import read_chat_features, read_embedding_features
from keyferry.contracts.text import BIGINT_MAX
from keyferry.contracts.usage import RequestKind
from services.console.bodies import Body

Tokens = Annotated[int, Strict(), Field(ge=0, le=BIGINT_MAX)]
_EXAMPLES: list[JsonValue] = [
    {"model": "gpt-5-mini", "input_tokens": 1200, "max_output_tokens": 500},
    {"request": {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}, "power_level": "eco"},
]


class EstimateBody(Body):
    """What to estimate: a whole `request`, as it would be sent, or a `model` and numbers of tokens."""

    model_config = ConfigDict(json_schema_extra={"examples": _EXAMPLES})

    request: Annotated[dict[str, Any], Field(max_length=100)] | None = None
    """The body of a chat completion or of embeddings. It is only measured, and goes no further than the console."""
    model: ChosenModel | None = None
    input_tokens: Tokens | None = None
    max_output_tokens: Annotated[Tokens | None, Field(ge=1)] = None
    """The limit that the request would set; null for none."""
    kind: RequestKind = RequestKind.CHAT
    power_level: PowerLevel | None = None
    prefer_own_keys: OwnKeys | None = None
    operation: Operation | None = None
    team: Reference | None = None
    member: Reference | None = None

    @validator_of_model(mode="after")
    def _require_one(self) -> Self:
        counted = self.model is not None and self.input_tokens is not None
        if self.request is None and not counted:
            raise PydanticCustomError("subject", "give a `request`, or `model` and `input_tokens`")
        if self.request is not None and (self.model, self.input_tokens, self.max_output_tokens) != (None, None, None):
            raise PydanticCustomError("subject", "a `request` has its model and its tokens in itself: leave them out")
        if self.request is not None:
            self._check_model(self.request.get("model"))
        return self

    def to_command(self, tenant: str) -> EstimateCost:
        """Return the question to the router, which has numbers of the request and nothing of its text."""
        return EstimateCost(
            tenant=tenant,
            model=self.model or (self.request or {})["model"],
            kind=self.kind,
            features=self._features(),
            power_level=self.power_level,
            prefer_own_keys=self.prefer_own_keys,
            operation=self.operation,
            team=self.team,
            member=self.member,
        )

    def _features(self) -> RequestFeatures:
        if self.request is None:
            return RequestFeatures(input_tokens=self.input_tokens or 0, max_output_tokens=self.max_output_tokens)
        size = len(json.dumps(self.request, ensure_ascii=False).encode(errors="surrogatepass"))
        read = read_chat_features if self.kind is RequestKind.CHAT else read_embedding_features
        return read(self.request, size)

    def _check_model(self, model: object) -> None:
        try:
            EstimateCost.model_validate({"tenant": "platform", "model": model})
        except ValidationError:
            message = "`request.model` must be the name of a model: printable ASCII without spaces"
            raise PydanticCustomError("model", message) from None
