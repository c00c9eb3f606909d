"""Invalid requests are rejected before anything is sent, with the name of the parameter."""

import json
from collections.abc import Mapping

import pytest

from keyferry.client import BadRequest
from keyferry.client.prepared_request import (
    Input,
    PreparedRequest,
    RoutingOptions,
    prepare_chat,
    prepare_embeddings,
)
from keyferry.contracts.chat import EmbeddingRequest
from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.topology import MAX_REQUEST_BODY_BYTES

HELLO = [{"role": "user", "content": "hello"}]


def ask(
    *,
    model: str = "m",
    messages: list[Mapping[str, object]] | None = None,
    stream: bool = False,
    timeout_seconds: float = 60,
    operation: str | None = None,
    tags: dict[str, str] | None = None,
    routing: RoutingOptions | None = None,
    **parameters: object,
) -> PreparedRequest:
    return prepare_chat(
        model=model,
        messages=HELLO if messages is None else messages,
        stream=stream,
        timeout_seconds=timeout_seconds,
        operation=operation,
        tags=tags,
        traceparent=None,
        routing=routing,
        parameters=parameters,
    )


def test_head_says_what_planning_needs_of_the_body() -> None:
    features = ask(tools=[{"type": "function"}], max_tokens=50).head("acme", 10).features
    assert features is not None
    assert (features.tools, features.max_output_tokens) == (True, 50)
    assert features.input_tokens > 0
    embedding = prepare_embeddings(
        model="m", input_=[[1, 2], [3]], timeout_seconds=1, operation=None, tags=None, traceparent=None, parameters={}
    )
    assert embedding.features.input_tokens == 3


def test_body_is_in_openai_format() -> None:
    assert json.loads(ask(temperature=0.5).body) == {"model": "m", "messages": HELLO, "temperature": 0.5}


def test_stream_requests_usage() -> None:
    parse_object, stream = ask(), ask(stream=True)
    assert json.loads(stream.body)["stream_options"] == {"include_usage": True}
    assert stream.head("acme", 10).include_usage
    assert not parse_object.head("acme", 10).include_usage


def test_every_attempt_has_its_own_id() -> None:
    request = ask(operation="research", tags={"lead": "42"})
    first, second = request.head("acme", 1000), request.head("acme", 900)
    assert first.request_id != second.request_id
    assert (first.tenant, first.deadline_ms, second.deadline_ms) == ("acme", 1000, 900)
    assert (first.operation, first.tags) == ("research", {"lead": "42"})


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody"}]}, "messages[0].role"),
        ({"model": ""}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": float("inf")}, "top_p"),
        ({"extra": {"a": [1.5, {"b": (float("-inf"),)}]}}, "extra"),
        ({"stream_options": {}}, "stream_options"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"operation": "a b"}, "operation"),
        ({"tags": {"a": "b=c"}}, "tags"),
        ({"tags": {"": "b"}}, "tags"),
        ({"tags": {str(number): "" for number in range(17)}}, "tags"),
        ({"messages": [{"role": "user", "content": "x" * MAX_REQUEST_BODY_BYTES}]}, "messages"),
        ({"seed": {1, 2}}, None),
    ],
)
def test_invalid_parameter_is_named(wrong: dict[str, object], param: str | None) -> None:
    with pytest.raises(BadRequest) as raised:
        ask(**wrong)  # type: ignore[arg-type]  # wrong on purpose
    failure = raised.value.failure
    assert (failure.failure_class, failure.where, failure.param) == (FailureClass.BAD_REQUEST, Where.NOT_SENT, param)
    assert raised.value.request_id is None


def test_error_does_not_repeat_the_message() -> None:
    with pytest.raises(BadRequest) as raised:
        ask(messages=[{"role": "user", "content": {"secret": "hunter2"}}])
    assert "hunter2" not in str(raised.value)


def embeddings(input_: Input = "hello", **changes: object) -> PreparedRequest:
    return prepare_embeddings(
        model="m",
        input_=input_,
        timeout_seconds=60,
        operation=None,
        tags=None,
        traceparent=None,
        parameters=changes,
    )


@pytest.mark.parametrize("input_", ["hello", ("a", "b"), [1, 2], [[1], [2]]])
def test_embeddings_request_uses_base64(input_: Input) -> None:
    prepared = embeddings(input_, dimensions=8)
    body = json.loads(prepared.body)
    assert body["encoding_format"] == "base64"
    assert body["dimensions"] == 8
    assert body["input"] == (input_ if isinstance(input_, str) else list(input_))
    head = prepared.head("acme", 5000)
    assert isinstance(head, EmbeddingRequest)
    assert not head.stream


@pytest.mark.parametrize(
    ("input_", "changes", "param"),
    [
        ("", {}, "input"),
        ([], {}, "input"),
        ("a", {"encoding_format": "float"}, "encoding_format"),
        ("a", {"dimensions": 0}, "dimensions"),
        (["x" * (7 * 1024 * 1024)], {}, "input"),
    ],
)
def test_invalid_embeddings_request_is_rejected_before_it_is_sent(
    input_: Input, changes: dict[str, object], param: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        embeddings(input_, **changes)
    assert caught.value.failure.param == param


def test_routing_options_are_sent_in_the_head() -> None:
    options = RoutingOptions(
        power_level=PowerLevel.ECO,
        prefer_own_keys="only",
        conversation="c-1",
        team="sales",
        member="ann",
        explain=True,
    )
    head = ask(routing=options).head("acme", 10)
    assert {field: getattr(head, field) for field in RoutingOptions.__dataclass_fields__} == {
        field: getattr(options, field) for field in RoutingOptions.__dataclass_fields__
    }


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"power_level": "turbo"}, "power_level"),
        ({"prefer_own_keys": "never"}, "prefer_own_keys"),
        ({"conversation": "a\x00b"}, "conversation"),
        ({"conversation": "x" * 65}, "conversation"),
        ({"team": ""}, "team"),
        ({"team": "\ud800"}, "team"),
        ({"member": "sk-proj-" + "a1" * 24}, "member"),
    ],
)
def test_invalid_routing_options_are_refused(options: dict[str, object], param: str) -> None:
    with pytest.raises(BadRequest) as error:
        ask(routing=RoutingOptions(**options))  # type: ignore[arg-type]
    assert error.value.failure.param == param
