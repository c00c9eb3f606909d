"""Fields that Gemini does not support are rejected by name, or dropped and reported; never ignored."""

import json
from typing import Any

import pytest

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import BEARER, HeaderAuth, RefusedByAdapter
from tests.support.providers.attempt_runs import attempt_run
from tests.unit.provider_worker.adapters.gemini.request_building import GEMINI, QUESTION, build_request, content

UNSUPPORTED: list[tuple[str, object]] = [
    ("parallel_tool_calls", False),
    ("logit_bias", {"50256": -100}),
    ("store", True),
    ("user", "u-1"),
    ("safety_identifier", "u-1"),
    ("prompt_cache_key", "k"),
    ("prompt_cache_retention", "24h"),
    ("prediction", {"type": "content", "content": "x"}),
    ("verbosity", "low"),
    ("audio", {"voice": "alloy", "format": "wav"}),
    ("metadata", {"team": "blue"}),
    ("service_tier", "scale"),
    ("modalities", ["text", "audio"]),
    ("reasoning_effort", "xhigh"),
    ("repetition_penalty", 1.1),
    ("tempreature", 0.3),
]

NEUTRAL: list[dict[str, Any]] = [
    {"parallel_tool_calls": True, "logit_bias": {}, "store": False, "user": None, "prediction": None},
    {"verbosity": "medium", "n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "stop": None, "metadata": {}},
    {"service_tier": "auto", "modalities": ["text"], "logprobs": False, "top_logprobs": None, "tools": [], "stop": []},
    {"stream": False, "stream_options": {"include_usage": True}, "response_format": {"type": "text"}, "seed": None},
    {"tool_choice": "none", "functions": [], "function_call": "auto", "prompt_cache_retention": "in_memory"},
]


def refusal(body: dict[str, Any], **options: Any) -> Failure:
    with pytest.raises(RefusedByAdapter) as caught:
        build_request(body, **options)
    failure = caught.value.failure
    assert (failure.failure_class, failure.where, failure.status) == (FailureClass.BAD_REQUEST, Where.NOT_SENT, 400)
    assert failure.param is not None
    assert f"`{failure.param}`" in failure.message
    return failure


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED, ids=[name for name, _ in UNSUPPORTED])
def test_unsupported_fields_are_rejected_or_dropped(name: str, value: object) -> None:
    assert refusal({name: value}).param == name
    request = build_request({name: value}, drop_unsupported=True)
    assert request.dropped == (name,)
    assert json.loads(request.content) == content({})


@pytest.mark.parametrize("body", NEUTRAL, ids=[",".join(body) for body in NEUTRAL])
def test_neutral_values_are_not_rejected(body: dict[str, Any]) -> None:
    request = build_request(body)
    assert json.loads(request.content) == content({})
    assert request.dropped == ()


def test_several_dropped_fields_are_all_reported() -> None:
    body = {"messages": [{**QUESTION[0], "name": "Ann"}], "user": "u", "frobnicate": 1, "temperature": 1}
    request = build_request(body, drop_unsupported=True)
    assert request.dropped == ("messages[0].name", "user", "frobnicate")
    assert json.loads(request.content) == content({"temperature": 1})


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"extra_body": {"openai": {}}}, "extra_body.openai"),
        ({"extra_body": {"google": {"thoughts": 1}}}, "extra_body.google.thoughts"),
        ({"google": {"thoughts": 1}}, "google.thoughts"),
        ({"web_search_options": {"user_location": {"type": "approximate"}}}, "web_search_options.user_location"),
    ],
)
def test_nested_fields_are_named_by_path(body: dict[str, Any], param: str) -> None:
    assert refusal(body).param == param
    assert build_request(body, drop_unsupported=True).dropped == (param,)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "critic", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "messages[0].content[0].type"),
        (
            {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "cat.png"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://[x/"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"format": "g711"}}]}]},
            "messages[0].content[0].input_audio.format",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-abc"}}]}]},
            "messages[0].content[0].file.file_id",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_data": "JVBE"}}]}]},
            "messages[0].content[0].file.file_data",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"tools": {"type": "function"}}, "tools"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema"),
        ({"reasoning_effort": "a lot"}, "reasoning_effort"),
        ({"reasoning_effort": "low", "thinking_config": {"thinkingBudget": 1}}, "thinking_config"),
        ({"top_logprobs": 2}, "top_logprobs"),
    ],
)
def test_invalid_values_are_rejected_even_if_fields_may_be_dropped(body: dict[str, Any], param: str) -> None:
    assert refusal(body).param == param
    assert refusal(body, drop_unsupported=True).param == param


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null"])
def test_a_body_that_is_not_an_object_is_rejected(body: bytes) -> None:
    with pytest.raises(RefusedByAdapter, match="not a JSON object"):
        GEMINI.request(attempt_run(base_url=None), body)


def test_a_too_deeply_nested_body_is_rejected() -> None:
    depth = 5000
    body = b'{"messages":[{"role":"user","content":"x"}],"top_k":' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(RefusedByAdapter, match=r"nested too deeply|not a JSON object"):
        GEMINI.request(attempt_run(base_url=None), body)


@pytest.mark.parametrize(
    ("model", "effort", "config"),
    [
        ("gemini-2.5-flash-lite", "minimal", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-flash-latest", "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
        ("gemini-3-pro-preview", "minimal", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3.5-flash", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3.1-pro", "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
    ],
)
def test_effort_is_a_budget_or_a_level_by_generation(model: str, effort: str, config: dict[str, Any]) -> None:
    sent = content({"reasoning_effort": effort}, model=model)
    assert sent["generationConfig"] == {"thinkingConfig": config}


@pytest.mark.parametrize(
    ("model", "effort"),
    [("gemini-3-pro", "none"), ("gemini-3.5-flash", "none"), ("gemini-2.5-pro", "none"), ("gemini-2.0-flash", "low")],
)
def test_efforts_unsupported_by_a_model_are_rejected(model: str, effort: str) -> None:
    assert model in refusal({"reasoning_effort": effort}, model=model).message
    assert build_request({"reasoning_effort": effort}, model=model, drop_unsupported=True).dropped == (
        "reasoning_effort",
    )


def test_effort_none_is_dropped_for_models_that_do_not_think() -> None:
    assert content({"reasoning_effort": "none"}, model="gemini-2.0-flash") == content({}, model="gemini-2.0-flash")


def test_images_of_one_request_have_one_resolution() -> None:
    def image(detail: str) -> dict[str, Any]:
        return {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": detail}}

    both = {"messages": [{"role": "user", "content": [image("low"), image("auto"), image("high")]}]}
    assert refusal(both).param == "messages[0].content[2].image_url.detail"
    request = build_request(both, drop_unsupported=True)
    assert json.loads(request.content)["generationConfig"] == {"mediaResolution": "MEDIA_RESOLUTION_LOW"}
    assert "generationConfig" not in content({"messages": [{"role": "user", "content": [image("auto")]}]})


def test_vertex_gets_the_media_type_of_urls() -> None:
    def by_url(url: str) -> dict[str, Any]:
        return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}

    assert content(by_url("gs://pictures/cat.webp"), vertex=True)["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "gs://pictures/cat.webp", "mimeType": "image/webp"}}
    ]
    assert content(by_url("https://pictures.example/1"))["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "https://pictures.example/1"}}
    ]
    assert refusal(by_url("https://pictures.example/1"), vertex=True).param == "messages[0].content[0].image_url.url"


def test_files_uploaded_to_ai_studio_are_named_by_url() -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "files/abc"}}]}]}
    assert content(body)["contents"][0]["parts"] == [
        {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}
    ]
    assert refusal(body, vertex=True).param == "messages[0].content[0].file.file_id"


@pytest.mark.parametrize("metadata", [{"Team": "blue"}, {"team": "Blue"}, {"team": 1}, {"1": "a"}])
def test_invalid_labels_are_rejected_for_vertex(metadata: dict[str, Any]) -> None:
    assert refusal({"metadata": metadata}, vertex=True).param == "metadata"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"not": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}},
        {"$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "$ref": "#/$defs/tree"},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ],
)
def test_inexpressible_schemas_are_rejected_for_older_models(schema: dict[str, Any]) -> None:
    body = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    assert refusal(body, model="gemini-2.0-flash").param == "response_format.json_schema.schema"
    assert content(body)["generationConfig"]["responseJsonSchema"] == schema


def test_older_models_get_tool_schemas_in_googles_subset() -> None:
    parameters = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$defs": {"place": {"type": "object", "properties": {"name": {"const": "Köln"}}}},
        "type": "object",
        "properties": {
            "place": {"$ref": "#/$defs/place", "description": "where"},
            "when": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "of": {"type": ["string", "integer"]},
        },
        "additionalProperties": False,
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    declaration = content({"tools": [tool]}, model="gemini-2.0-flash")["tools"][0]["functionDeclarations"][0]
    assert declaration["parameters"] == {
        "type": "OBJECT",
        "propertyOrdering": ["place", "when", "of"],
        "properties": {
            "place": {
                "type": "OBJECT",
                "description": "where",
                "propertyOrdering": ["name"],
                "properties": {"name": {"enum": ["Köln"]}},
            },
            "when": {"type": "STRING", "nullable": True},
            "of": {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
        },
    }
    strict = {"type": "function", "function": {"name": "f", "parameters": parameters, "strict": True}}
    assert refusal({"tools": [strict]}, model="gemini-2.0-flash").param == "tools[0].function.strict"


@pytest.mark.parametrize(
    ("fields", "url", "bearer"),
    [
        (
            {"project": "acme-1", "location": "us-east1"},
            "https://us-east1-aiplatform.googleapis.com/v1/projects/acme-1/locations/us-east1/publishers/google",
            True,
        ),
        (
            {"project": "acme-1"},
            "https://aiplatform.googleapis.com/v1/projects/acme-1/locations/global/publishers/google",
            True,
        ),
        (
            {"project": "acme-1", "location": "eu", "auth": "api_key", "api_version": "v1beta1"},
            "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/acme-1/locations/eu/publishers/google",
            False,
        ),
        ({}, "https://aiplatform.googleapis.com/v1/publishers/google", False),
    ],
)
def test_key_fields_decide_vertexs_url(fields: dict[str, str], url: str, bearer: bool) -> None:
    request = build_request({}, vertex=True, key_fields=fields)
    assert request.url == f"{url}/models/gemini-2.5-flash:generateContent"
    assert request.auth == (BEARER if bearer else HeaderAuth("x-goog-api-key", ""))


@pytest.mark.parametrize(
    ("name", "value"), [("project", "a/b"), ("location", "evil.example/"), ("location", "US"), ("api_version", "v2/x")]
)
def test_key_fields_cannot_redirect_a_key(name: str, value: str) -> None:
    assert refusal({}, vertex=True, key_fields={"project": "acme-1", name: value}).param == name


def test_an_attempts_base_url_wins_and_model_names_stay_inside_the_path() -> None:
    base_url = "http://127.0.0.1:9/v1beta/"
    assert build_request({}, base_url=base_url, model="models/x?y/../z").url == (
        "http://127.0.0.1:9/v1beta/models/x%3Fy%2F..%2Fz:generateContent"
    )
    assert build_request({}, base_url=base_url, model="tunedModels/mine").url == (
        "http://127.0.0.1:9/v1beta/tunedModels/mine:generateContent"
    )
    assert build_request({}, base_url=base_url, vertex=True).url == (
        "http://127.0.0.1:9/v1beta/models/gemini-2.5-flash:generateContent"
    )


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2, 3]}, "input"),
        ({"input": [[1, 2], [3]]}, "input"),
        ({"input": "x", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "x", "user": "u"}, "user"),
        ({"input": "x", "truncate": "END"}, "truncate"),
    ],
)
def test_unsupported_embedding_requests_are_rejected(body: dict[str, Any], param: str) -> None:
    for vertex in (False, True):
        assert refusal(body, kind=RequestKind.EMBEDDING, vertex=vertex, model="text-embedding-005").param == param
