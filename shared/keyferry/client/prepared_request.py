"""Validation of a request before it is sent, so that a mistake is found at once and costs nothing."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import orjson
from pydantic import ValidationError

from keyferry.client.errors import BadRequest
from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest, OwnKeys
from keyferry.contracts.completion import ChatCompletionBody, EmbeddingBody
from keyferry.contracts.envelope import describe
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.feedback import SaveFeedback
from keyferry.contracts.invalid_values import format_path, invalid_values
from keyferry.contracts.misplaced_key import may_be_key
from keyferry.contracts.request_features import read_chat_features, read_embedding_features
from keyferry.contracts.text import NOT_A_KEY, is_safe
from keyferry.contracts.topology import MAX_REQUEST_BODY_BYTES
from keyferry.contracts.usage import RequestKind

_OPERATION = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TEXTS = ("model", "messages", "input")
"""Parameters that are long and of text; their types are checked."""
_TAG_VALUE = re.compile(r"[^,=]{0,256}")

Input = str | Sequence[str] | Sequence[int] | Sequence[Sequence[int]]
"""What to embed: one text, several texts, or the token ids of one or several texts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingOptions:
    """What a request asks of its routing, beyond the model. None leaves it to the tenant's preferences."""

    power_level: PowerLevel | None = None
    """How a model is chosen for `eco`, `balanced`, `precision`, `auto` and `default`, and offerings of other models ordered."""
    prefer_own_keys: OwnKeys | None = None
    """The tenant's own provider keys `first`, `last`, or `only` those; within what its policy allows."""
    conversation: str | None = None
    """Requests of one conversation get the same share of a weighted rule."""
    team: str | None = None
    member: str | None = None
    explain: bool = False
    """Whether the route of the answer has the decision, with the reason of each candidate."""


_DEFAULT_ROUTING = RoutingOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRequest:
    """A validated request, which may be sent several times."""

    model: str
    body: bytes
    stream: bool
    timeout_seconds: float
    operation: str | None
    tags: Mapping[str, str]
    traceparent: str | None
    features: RequestFeatures
    routing: RoutingOptions = _DEFAULT_ROUTING
    kind: RequestKind = RequestKind.CHAT

    def head(self, tenant: str, deadline_ms: int) -> ChatRequest | EmbeddingRequest:
        """Return the head for one attempt, with a new request id. The sender sets `start_by_unix_ms`."""
        head_type = EmbeddingRequest if self.kind is RequestKind.EMBEDDING else ChatRequest
        return head_type(
            request_id=ids.new(ids.REQUEST),
            tenant=tenant,
            model=self.model,
            stream=self.stream,
            include_usage=self.stream,
            operation=self.operation,
            tags=dict(self.tags),
            deadline_ms=deadline_ms,
            start_by_unix_ms=0,
            traceparent=self.traceparent,
            features=self.features,
            power_level=self.routing.power_level,
            prefer_own_keys=self.routing.prefer_own_keys,
            conversation=self.routing.conversation,
            team=self.routing.team,
            member=self.routing.member,
            explain=self.routing.explain,
        )


def prepare_chat(
    *,
    model: str,
    messages: Sequence[Mapping[str, object]],
    stream: bool,
    timeout_seconds: float,
    operation: str | None,
    tags: Mapping[str, str] | None,
    traceparent: str | None,
    routing: RoutingOptions | None = None,
    parameters: Mapping[str, object],
) -> PreparedRequest:
    """Validate a chat request; `parameters` are those of OpenAI's chat completions. Raises BadRequest."""
    if reserved := parameters.keys() & {"stream", "stream_options"}:
        raise _invalid(
            reserved.pop(), "must not be given: use `chat` for a whole answer and `stream` for a streamed one"
        )
    tags = tags or {}
    _check(timeout_seconds, operation, tags)
    document: dict[str, object] = {"model": model, "messages": list(messages), **parameters}
    if stream:
        document |= {"stream": True, "stream_options": {"include_usage": True}}
    body = _encode_body(document, ChatCompletionBody)
    return PreparedRequest(
        model=model,
        body=body,
        features=read_chat_features(orjson.loads(body), len(body)),
        stream=stream,
        timeout_seconds=timeout_seconds,
        operation=operation,
        tags=tags,
        traceparent=traceparent,
        routing=_check_routing(routing),
    )


def prepare_embeddings(
    *,
    model: str,
    input_: Input,
    timeout_seconds: float,
    operation: str | None,
    tags: Mapping[str, str] | None,
    traceparent: str | None,
    routing: RoutingOptions | None = None,
    parameters: Mapping[str, object],
) -> PreparedRequest:
    """Validate an embeddings request; `parameters` are those of OpenAI's embeddings. Raises BadRequest.

    It requests base64, which takes a third of the bytes of numbers as text.
    """
    if "encoding_format" in parameters:
        raise _invalid("encoding_format", "must not be given: the client returns numbers")
    tags = tags or {}
    _check(timeout_seconds, operation, tags)
    texts = input_ if isinstance(input_, str) else list(input_)
    document = {"model": model, "input": texts, "encoding_format": "base64", **parameters}
    body = _encode_body(document, EmbeddingBody)
    return PreparedRequest(
        model=model,
        body=body,
        features=read_embedding_features(orjson.loads(body), len(body)),
        stream=False,
        timeout_seconds=timeout_seconds,
        operation=operation,
        tags=tags,
        traceparent=traceparent,
        routing=_check_routing(routing),
        kind=RequestKind.EMBEDDING,
    )


def prepare_feedback(fields: Mapping[str, object]) -> SaveFeedback:
    """Validate a rating. Raises BadRequest."""
    try:
        return SaveFeedback.model_validate(dict(fields))
    except ValidationError as error:
        first = invalid_values(error.errors(include_url=False, include_input=False))[0]
        raise _bad_request(describe(error), format_path(first.path)) from None


def _check(timeout_seconds: float, operation: str | None, tags: Mapping[str, str]) -> None:
    if timeout_seconds <= 0:
        raise _invalid("timeout_seconds", "must be more than 0")
    if operation is not None and not _OPERATION.fullmatch(operation):
        raise _invalid("operation", "takes 1 to 64 of A-Z a-z 0-9 _ . -")
    if len(tags) > ids.MAX_TAGS or not all(_is_tag(name, value) for name, value in tags.items()):
        raise _invalid("tags", f"takes up to {ids.MAX_TAGS} names of A-Z a-z 0-9 _ . - with values without `,` and `=`")


def _check_routing(routing: RoutingOptions | None) -> RoutingOptions:
    if routing is None:
        return _DEFAULT_ROUTING
    if routing.power_level is not None and routing.power_level not in set(PowerLevel):
        raise _invalid("power_level", f"must be one of {', '.join(PowerLevel)}")
    if routing.prefer_own_keys not in (None, *get_args(OwnKeys)):
        raise _invalid("prefer_own_keys", f"must be one of {', '.join(get_args(OwnKeys))}")
    for name in ("conversation", "team", "member"):
        value = getattr(routing, name)
        if value is not None and not _OPERATION.fullmatch(value):
            raise _invalid(name, "takes 1 to 64 of A-Z a-z 0-9 _ . -")
        if value is not None and may_be_key(value):
            raise _invalid(name, f"should be {NOT_A_KEY}")
    return routing


def _is_tag(name: str, value: str) -> bool:
    return _OPERATION.fullmatch(name) is not None and _TAG_VALUE.fullmatch(value) is not None and is_safe(value)


def _encode_body(document: Mapping[str, object], shape: type[ChatCompletionBody] | type[EmbeddingBody]) -> bytes:
    try:
        body = orjson.dumps(document)
        for param, value in document.items():
            if param not in _TEXTS and not _is_finite(value):
                raise _invalid(param, "must not hold NaN or an infinite number: JSON has none")
        shape.model_validate_json(body)
    except TypeError as error:
        raise _bad_request(f"the request cannot be written as JSON: {error}") from None
    except ValidationError as error:
        first = invalid_values(error.errors(include_url=False, include_input=False))[0]
        raise _bad_request(describe(error), format_path(first.path)) from None
    if len(body) > MAX_REQUEST_BODY_BYTES:
        raise _bad_request(
            f"the request has {len(body)} bytes, more than the gateway's limit of {MAX_REQUEST_BODY_BYTES}",
            "messages" if shape is ChatCompletionBody else "input",
        )
    return body


def _is_finite(value: object) -> bool:
    """Return whether `value` has finite numbers only; orjson would write null in place of others."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    return not isinstance(value, list | tuple) or all(map(_is_finite, value))


def _invalid(param: str, detail: str) -> BadRequest:
    return _bad_request(f"{param} {detail}", param)


def _bad_request(message: str, param: str | None = None) -> BadRequest:
    failure = Failure(failure_class=FailureClass.BAD_REQUEST, message=message, where=Where.NOT_SENT, param=param)
    return BadRequest(failure)
