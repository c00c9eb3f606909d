"""Requests to an OpenAI-compatible endpoint, and the adapter that builds them."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from services.provider_worker.adapters.adapter import RefusedByAdapter
from services.provider_worker.adapters.openai_compatible.adapter import CompatibleAdapter
from services.provider_worker.adapters.openai_compatible.providers import CUSTOM
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run

ADAPTER = CompatibleAdapter(CUSTOM)


def test_the_model_is_replaced_and_everything_else_stays() -> None:
    body = b'{"model":"mine/x","messages":[{"role":"user","content":"\xc3\xa9"}],"top_p":0.30000000000000004,"own":{"a":[1,2.0]}}'
    request = ADAPTER.request(attempt_run(model="x"), body)
    assert json.loads(request.content) == {**json.loads(body), "model": "x"}
    assert request.url == "http://127.0.0.1:9/v1/chat/completions"
    assert request.headers == {"content-type": "application/json", "accept": "application/json"}


def test_a_body_that_needs_no_change_goes_out_byte_for_byte() -> None:
    body = b'{ "messages": [], "stream_options": {"include_usage": true}, "stream": true,  "model": "x" }'
    request = ADAPTER.request(attempt_run(model="x", stream=True), body)
    assert request.content is body
    assert request.headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("options", [None, {}, {"include_usage": False, "include_obfuscation": False}])
def test_usage_is_requested_in_every_stream(options: object) -> None:
    body = json.dumps({"model": "x", "messages": [], "stream": True, "stream_options": options}).encode()
    sent = json.loads(ADAPTER.request(attempt_run(model="x", stream=True), body).content)
    assert sent["stream_options"] == {**(options if isinstance(options, dict) else {}), "include_usage": True}
    assert "stream_options" not in json.loads(ADAPTER.request(attempt_run(model="x"), b'{"model":"x"}').content)


def test_text_rejected_by_strict_parsers_survives() -> None:
    body = b'{"model":"a","seed":123456789012345678901234567890,"messages":[{"role":"user","content":"\\ud83d"}]}'
    sent = ADAPTER.request(attempt_run(model="b"), body).content
    assert b'"\\ud83d"' in sent
    assert json.loads(sent)["messages"] == json.loads(body)["messages"]


def test_a_trailing_slash_of_the_base_url_is_not_doubled() -> None:
    assert (
        ADAPTER.request(attempt_run(base_url="https://x.example/v1/"), b"{}").url
        == "https://x.example/v1/chat/completions"
    )


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
def test_a_body_that_is_not_an_object_is_rejected(body: bytes) -> None:
    with pytest.raises(RefusedByAdapter) as caught:
        ADAPTER.request(attempt_run(), body)
    assert caught.value.failure.failure_class is FailureClass.BAD_REQUEST
    assert caught.value.failure.where is Where.NOT_SENT


def test_an_attempt_without_a_base_url_is_rejected() -> None:
    with pytest.raises(RefusedByAdapter):
        ADAPTER.request(attempt_run(base_url=None), b"{}")


def test_an_unknown_provider_is_rejected_by_name() -> None:
    with pytest.raises(RefusedByAdapter, match=r"'nobody'.*custom"):
        adapter_for("nobody")


@pytest.mark.parametrize(
    ("provider", "model", "fields", "message"),
    [
        ("openai", "gpt-5", {"temperature": 0.5}, "The model gpt-5 of OpenAI does not take `temperature` in this request;"),
        ("openai", "gpt-4o", {"reasoning_effort": "low"}, "The model gpt-4o of OpenAI does not take `reasoning_effort`"),
        ("mistral", "m", {"temperature": 1.7}, "Mistral does not take `temperature` as it is. It has to be from 0 to 1.5."),
        ("custom", "m", {"stop": ["a", ""]}, "This server does not take `stop[1]` as it is. It is empty. Correct it,"),
        ("deepseek", "m", {"response_format": {"type": "json_schema"}}, "as it is. Its `type` may be: json_object"),
        ("perplexity", "m", {"seed": 1}, "Perplexity does not support `seed`; leave it out, choose another provider, or"),
    ],
)  # fmt: skip
def test_a_refusal_says_whether_the_provider_the_model_or_the_value_is_why(
    provider: str, model: str, fields: dict[str, object], message: str
) -> None:
    body = json.dumps({"model": "x", "messages": [{"role": "user", "content": "hi"}], **fields}).encode()
    with pytest.raises(RefusedByAdapter) as refused:
        adapter_for(provider).request(attempt_run(model=model, provider=provider), body)
    assert message in refused.value.failure.message
