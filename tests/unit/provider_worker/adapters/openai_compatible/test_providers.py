"""Requests by the table of OpenAI-compatible providers: URL, names, rejected and dropped fields."""

import json

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.providers import PROVIDERS
from services.provider_worker.adapters.adapter import HeaderAuth, RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.openai_compatible.providers import COMPATIBLE_PROVIDERS
from services.provider_worker.adapters.registry import adapter_for
from tests.support.providers.attempt_runs import attempt_run

JsonObject = dict[str, object]
HELLO: list[JsonObject] = [{"role": "user", "content": "hello"}]
NAMES = [row.name for row in COMPATIBLE_PROVIDERS]
ELSEWHERE = "https://own.example/v1"


def ask(
    provider: str,
    base: JsonObject | None = None,
    /,
    *,
    drop: bool = False,
    fields: dict[str, str] | None = None,
    base_url: str | None = None,
    **body: object,
) -> UpstreamRequest:
    body = {**(base or {}), **body}
    default = None if PROVIDERS[provider].base_url else ELSEWHERE
    stream = body.get("stream") is True
    run = attempt_run(
        provider=provider,
        model="m",
        stream=stream,
        base_url=base_url or default,
        drop_unsupported=drop,
        key_fields=fields,
    )
    return adapter_for(provider).request(run, json.dumps({"model": "m", "messages": HELLO, **body}).encode())


def sent_body(request: UpstreamRequest) -> JsonObject:
    document: JsonObject = json.loads(request.content)
    return document


def refusal(provider: str, base: JsonObject | None = None, /, **body: object) -> str | None:
    with pytest.raises(RefusedByAdapter) as caught:
        ask(provider, {**(base or {}), **body})
    failure = caught.value.failure
    assert (failure.failure_class, failure.where, failure.status) == (FailureClass.BAD_REQUEST, Where.NOT_SENT, 400)
    assert failure.param is not None
    assert failure.param.split(".")[-1] in failure.message
    return failure.param


def test_the_table_of_providers_is_complete() -> None:
    assert set(NAMES) == {
        "openai", "openrouter", "xai", "groq", "together", "fireworks", "deepinfra", "mistral", "deepseek", "perplexity",
        "huggingface", "azure", "vllm", "ollama", "llamacpp", "custom",
    }  # fmt: skip
    assert all(name in PROVIDERS for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_plain_request_goes_out_byte_for_byte(name: str) -> None:
    body = b'{"model": "m",  "messages": [{"role": "user", "content": "hello"}], "temperature": 0.2, "own_field": {"a": 1}}'
    run = attempt_run(provider=name, model="m", base_url=ELSEWHERE)
    assert adapter_for(name).request(run, body).content is body


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("openai", "https://api.openai.com/v1/chat/completions"),
        ("openrouter", "https://openrouter.ai/api/v1/chat/completions"),
        ("groq", "https://api.groq.com/openai/v1/chat/completions"),
        ("deepinfra", "https://api.deepinfra.com/v1/openai/chat/completions"),
        ("fireworks", "https://api.fireworks.ai/inference/v1/chat/completions"),
        ("perplexity", "https://api.perplexity.ai/chat/completions"),
        ("huggingface", "https://router.huggingface.co/v1/chat/completions"),
        ("vllm", "https://own.example/v1/chat/completions"),
    ],
)
def test_each_provider_has_its_url(name: str, url: str) -> None:
    assert ask(name).url == url


def test_an_attempts_base_url_wins() -> None:
    assert ask("openai", base_url="https://proxy.example/v1").url == "https://proxy.example/v1/chat/completions"


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_bearer_tokens_except_on_azure(name: str) -> None:
    assert ask(name).auth == (HeaderAuth("api-key", "") if name == "azure" else HeaderAuth("authorization", "Bearer "))


@pytest.mark.parametrize(
    ("base_url", "fields", "url", "model"),
    [
        ("https://r.openai.azure.com", {}, "https://r.openai.azure.com/openai/v1/chat/completions", "m"),
        ("https://r.openai.azure.com/openai/v1/", {}, "https://r.openai.azure.com/openai/v1/chat/completions", "m"),
        (
            "https://r.openai.azure.com/",
            {"api_version": "2024-10-21"},
            "https://r.openai.azure.com/openai/deployments/m/chat/completions?api-version=2024-10-21",
            "m",
        ),
        (
            "https://r.openai.azure.com",
            {"api_version": "2024-10-21", "deployment": "a b"},
            "https://r.openai.azure.com/openai/deployments/a%20b/chat/completions?api-version=2024-10-21",
            "a b",
        ),
        (
            "https://r.openai.azure.com",
            {"deployment": "mine"},
            "https://r.openai.azure.com/openai/v1/chat/completions",
            "mine",
        ),
        (
            "https://r.services.ai.azure.com/models",
            {},
            "https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview",
            "m",
        ),
    ],
)
def test_azure_is_called_in_each_of_its_forms(base_url: str, fields: dict[str, str], url: str, model: str) -> None:
    request = ask("azure", base_url=base_url, fields=fields)
    assert request.url == url
    assert sent_body(request)["model"] == model


@pytest.mark.parametrize(
    "name", ["together", "fireworks", "deepinfra", "mistral", "deepseek", "perplexity", "ollama", "llamacpp"]
)
def test_max_completion_tokens_is_renamed_to_max_tokens(name: str) -> None:
    assert sent_body(ask(name, max_completion_tokens=7)) == {"model": "m", "messages": HELLO, "max_tokens": 7}
    assert sent_body(ask(name, max_completion_tokens=7, max_tokens=9))["max_tokens"] == 7
    assert sent_body(ask(name, max_completion_tokens=None, max_tokens=9))["max_tokens"] == 9


@pytest.mark.parametrize("name", ["openai", "azure", "openrouter", "xai", "groq", "custom"])
def test_max_completion_tokens_stays_where_supported(name: str) -> None:
    assert sent_body(ask(name, max_completion_tokens=7))["max_completion_tokens"] == 7


def test_mistrals_seed_is_renamed() -> None:
    assert sent_body(ask("mistral", seed=5)) == {"model": "m", "messages": HELLO, "random_seed": 5}


def test_developer_messages_become_system_messages_if_unsupported() -> None:
    messages: list[JsonObject] = [{"role": "developer", "content": "be brief"}, *HELLO]
    assert sent_body(ask("mistral", messages=messages))["messages"] == [
        {"role": "system", "content": "be brief"},
        *HELLO,
    ]
    assert sent_body(ask("openai", messages=messages))["messages"] == messages


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("groq", {"n": 2}, "n"),
        ("groq", {"logprobs": True}, "logprobs"),
        ("groq", {"logit_bias": {"1": 2}}, "logit_bias"),
        ("deepseek", {"seed": 0}, "seed"),
        ("deepseek", {"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ("perplexity", {"tools": [{"type": "function"}]}, "tools"),
        ("perplexity", {"response_format": {"type": "json_object"}}, "response_format"),
        ("ollama", {"tool_choice": "required"}, "tool_choice"),
        ("ollama", {"tool_choice": "none", "tools": [{"type": "function"}]}, "tool_choice"),
        ("mistral", {"logit_bias": {"1": 2}}, "logit_bias"),
        ("together", {"parallel_tool_calls": False}, "parallel_tool_calls"),
        ("xai", {"modalities": ["text", "audio"]}, "modalities"),
        ("groq", {"provider": {"order": ["x"]}}, "provider"),
        ("openai", {"models": ["a", "b"]}, "models"),
        ("openrouter", {"search_domain_filter": ["x.example"]}, "search_domain_filter"),
    ],
)
def test_unsupported_fields_are_rejected_by_name_or_dropped_and_reported(
    name: str, body: JsonObject, field: str
) -> None:
    assert refusal(name, body) == field
    request = ask(name, body, drop=True)
    assert request.dropped == (field,)
    assert field not in sent_body(request)


@pytest.mark.parametrize("name", NAMES)
def test_neutral_values_are_never_rejected(name: str) -> None:
    neutral: JsonObject = {
        "n": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "logit_bias": {},
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "tools": [],
        "tool_choice": "none",
        "parallel_tool_calls": True,
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "metadata": {},
        "store": False,
        "service_tier": "auto",
        "seed": None,
        "stop": [],
        "user": None,
    }
    request = ask(name, neutral)
    assert request.dropped == ()
    assert sent_body(request)["messages"] == HELLO


def test_unknown_fields_pass_to_everyone() -> None:
    for name in NAMES:
        assert sent_body(ask(name, own_field={"a": [1]}))["own_field"] == {"a": [1]}


def test_openrouters_parameters_reach_only_openrouter_and_custom_endpoints() -> None:
    extras: JsonObject = {"provider": {"order": ["x"]}, "route": "fallback", "transforms": []}
    assert extras.items() <= sent_body(ask("openrouter", extras)).items()
    assert extras.items() <= sent_body(ask("custom", extras)).items()
    for name in set(NAMES) - {"openrouter", "custom"}:
        request = ask(name, extras, drop=True)
        assert set(request.dropped) == set(extras)
        assert not extras.keys() & sent_body(request).keys()


@pytest.mark.parametrize("body", [{"models": ["openai/gpt-5-pro"]}, {"preset": "expensive"}])
def test_no_parameter_has_another_model_answer_than_the_one_that_was_allowed(body: JsonObject) -> None:
    """The tier, the client token and the key were compared with the model of the plan."""
    (name,) = body
    assert refusal("openrouter", body) == name
    request = ask("openrouter", body, drop=True)
    assert request.dropped == (name,)
    assert name not in sent_body(request)
    assert name not in sent_body(ask("openrouter", {name: []}))


def test_openrouter_gets_the_site_headers() -> None:
    fields = {"site_url": "https://acme.example", "site_name": "Acme"}
    assert {"http-referer": "https://acme.example", "x-title": "Acme"}.items() <= ask(
        "openrouter", fields=fields
    ).headers.items()
    assert "http-referer" not in ask("openai", fields=fields).headers
    assert "http-referer" not in ask("openrouter").headers


def test_unsupported_parts_are_rejected_by_path() -> None:
    image: JsonObject = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    messages = [*HELLO, {"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]
    assert refusal("deepseek", messages=messages) == "messages[1].content[1].image_url"
    request = ask("deepseek", drop=True, messages=messages)
    assert request.dropped == ("messages[1].content[1].image_url",)
    assert sent_body(request)["messages"] == [*HELLO, {"role": "user", "content": "what?"}]
    assert sent_body(ask("openai", messages=messages))["messages"] == messages


def test_a_message_of_only_dropped_parts_is_rejected() -> None:
    audio: JsonObject = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    with pytest.raises(RefusedByAdapter) as caught:
        ask("groq", drop=True, messages=[{"role": "user", "content": [audio]}])
    assert caught.value.failure.param == "messages[0].content"


def test_ollama_takes_data_urls_but_no_links() -> None:
    def message(url: str) -> list[JsonObject]:
        return [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]

    data = message("data:image/png;base64,AAAA")
    assert sent_body(ask("ollama", messages=data))["messages"] == data
    assert refusal("ollama", messages=message("https://x.example/a.png")) == "messages[0].content[0].image_url"


def test_mistral_takes_audio_as_text() -> None:
    audio: JsonObject = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    messages = sent_body(ask("mistral", messages=[{"role": "user", "content": [audio]}]))["messages"]
    assert messages == [{"role": "user", "content": [{"type": "input_audio", "input_audio": "AAAA"}]}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"logprobs": True, "top_logprobs": 3}, {"logprobs": 3}),
        ({"logprobs": True}, {"logprobs": 1}),
        ({"logprobs": False, "top_logprobs": 0}, {}),
        ({"logprobs": 2}, {"logprobs": 2}),
    ],
)
def test_together_gets_log_probabilities_as_a_count(fields: JsonObject, expected: JsonObject) -> None:
    assert sent_body(ask("together", fields)) == {"model": "m", "messages": HELLO, **expected}


@pytest.mark.parametrize("name", NAMES)
def test_streams_request_usage(name: str) -> None:
    options = sent_body(ask(name, stream=True, stream_options={"include_usage": False})).get("stream_options")
    assert options == (None if name in ("mistral", "perplexity") else {"include_usage": True})


def test_the_callers_body_is_never_changed_in_place() -> None:
    messages: list[JsonObject] = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": "hi"}]
    before = json.dumps(messages)
    first = ask("mistral", messages=messages, seed=1, n=1)
    assert sent_body(ask("mistral", messages=messages, seed=1, n=1)) == sent_body(first)
    assert json.dumps(messages) == before
