"""The same request by Google's own SDK, sent to a server on loopback, and by the adapter, compared by meaning."""

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.genai import types

from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import BEARER, HeaderAuth
from tests.unit.provider_worker.adapters.gemini.request_building import PROJECT, QUESTION, build_request
from tests.unit.provider_worker.adapters.gemini.sdk import sdk_request

PNG = b"\x89PNG\xfb\xff\xfe"
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Köln", "Paris"]}, "days": {"type": ["integer", "null"]}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Looks it up", "parameters": SCHEMA}}
DECLARATION = types.FunctionDeclaration(name="weather", description="Looks it up", parameters_json_schema=SCHEMA)
TOOL = types.Tool(function_declarations=[DECLARATION])
HI = [types.Content(role="user", parts=[types.Part(text="hi")])]


def config(**fields: Any) -> dict[str, Any]:
    return {"config": types.GenerateContentConfig(**fields)}


def tool_choice_config(mode: str, names: list[str] | None = None) -> types.ToolConfig:
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode(mode), allowed_function_names=names)
    return types.ToolConfig(function_calling_config=calling)


@dataclass(frozen=True)
class Pair:
    """A request in OpenAI's form and the arguments of Google's SDK for it."""

    openai: dict[str, Any]
    sdk: dict[str, Any] = field(default_factory=dict)
    model: str = "gemini-2.5-flash"


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "developer", "content": [{"type": "text", "text": "In German."}]},
    {"role": "user", "content": "Weather in Köln and Paris?"},
    {
        "role": "assistant",
        "content": "Let me look.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Köln"}'}},
            {"id": "b", "type": "function", "function": {"name": "news", "arguments": ""}},
        ],
    },
    {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "sun"}, {"type": "text", "text": "ny"}]},
    {"role": "tool", "tool_call_id": "b", "content": '{"headline": "none"}'},
    {"role": "user", "content": "Thanks"},
]
GEMINI_TURNS = [
    types.Content(role="user", parts=[types.Part(text="Weather in Köln and Paris?")]),
    types.Content(
        role="model",
        parts=[
            types.Part(text="Let me look."),
            types.Part(function_call=types.FunctionCall(id="a", name="weather", args={"city": "Köln"})),
            types.Part(function_call=types.FunctionCall(id="b", name="news", args={})),
        ],
    ),
    types.Content(
        role="user",
        parts=[
            types.Part(function_response=types.FunctionResponse(id="a", name="weather", response={"output": "sunny"})),
            types.Part(function_response=types.FunctionResponse(id="b", name="news", response={"headline": "none"})),
        ],
    ),
    types.Content(role="user", parts=[types.Part(text="Thanks")]),
]
SYSTEM = types.Content(parts=[types.Part(text="Be brief."), types.Part(text="In German.")])
MEDIA = [
    {"type": "text", "text": "Compare"},
    {"type": "image_url", "image_url": {"url": PNG_URL}},
    {"type": "image_url", "image_url": {"url": "https://pictures.example/cat.JPG?size=2"}},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
    {"type": "file", "file": {"filename": "b.pdf", "file_data": "JVBERi0="}},
]
GEMINI_MEDIA = [
    types.Part(text="Compare"),
    types.Part(inline_data=types.Blob(mime_type="image/png", data=PNG)),
    types.Part(file_data=types.FileData(mime_type="image/jpeg", file_uri="https://pictures.example/cat.JPG?size=2")),
    types.Part(inline_data=types.Blob(mime_type="audio/wav", data=b"RIFF")),
    types.Part(inline_data=types.Blob(mime_type="application/pdf", data=b"%PDF-")),
    types.Part(inline_data=types.Blob(mime_type="application/pdf", data=b"%PDF-")),
]

PAIRS = {
    "a question": Pair({}),
    "system, turns and results": Pair(
        {"messages": TURNS}, {"contents": GEMINI_TURNS, **config(system_instruction=SYSTEM)}
    ),
    "images, audio and files": Pair(
        {"messages": [{"role": "user", "content": MEDIA}]},
        {"contents": [types.Content(role="user", parts=GEMINI_MEDIA)]},
    ),
    "sampling": Pair(
        {
            "temperature": 0.2, "top_p": 0.9, "seed": 7, "max_tokens": 5, "max_completion_tokens": 50, "stop": "END",
            "presence_penalty": 0.5, "frequency_penalty": -0.5, "n": 2, "top_k": 40,
        },
        config(
            temperature=0.2, top_p=0.9, seed=7, max_output_tokens=50, stop_sequences=["END"], presence_penalty=0.5,
            frequency_penalty=-0.5, candidate_count=2, top_k=40,
        ),
    ),
    "log probabilities": Pair(
        {"logprobs": True, "top_logprobs": 3, "stop": ["a", "b"]},
        config(response_logprobs=True, logprobs=3, stop_sequences=["a", "b"]),
    ),
    "any JSON": Pair({"response_format": {"type": "json_object"}}, config(response_mime_type="application/json")),
    "JSON to a schema": Pair(
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}},
        config(response_mime_type="application/json", response_json_schema=SCHEMA),
    ),
    "JSON to a schema for an older model": Pair(
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        config(
            response_mime_type="application/json",
            response_schema=types.Schema(
                type=types.Type.OBJECT,
                properties={
                    "city": types.Schema(type=types.Type.STRING, enum=["Köln", "Paris"]),
                    "days": types.Schema(type=types.Type.INTEGER, nullable=True),
                },
                required=["city"],
                property_ordering=["city", "days"],
            ),
        ),
        model="gemini-2.0-flash",
    ),
    "tools": Pair({"tools": [WEATHER]}, config(tools=[TOOL])),
    "tools, free": Pair(
        {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": True},
        config(tools=[TOOL], tool_config=tool_choice_config("AUTO")),
    ),
    "tools, none": Pair(
        {"tools": [WEATHER], "tool_choice": "none"}, config(tools=[TOOL], tool_config=tool_choice_config("NONE"))
    ),
    "tools, required": Pair(
        {"tools": [WEATHER], "tool_choice": "required"}, config(tools=[TOOL], tool_config=tool_choice_config("ANY"))
    ),
    "tools, this one": Pair(
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "weather"}}},
        config(tools=[TOOL], tool_config=tool_choice_config("ANY", ["weather"])),
    ),
    "tools, one of these": Pair(
        {
            "tools": [WEATHER],
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "weather"}}]},
            },
        },
        config(tools=[TOOL], tool_config=tool_choice_config("VALIDATED", ["weather"])),
    ),
    "tools that keep to their schemas": Pair(
        {"tools": [{"type": "function", "function": {**WEATHER["function"], "strict": True}}]},  # type: ignore[dict-item]
        config(tools=[TOOL], tool_config=tool_choice_config("VALIDATED")),
    ),
    "a tool without parameters": Pair(
        {"tools": [{"type": "function", "function": {"name": "now"}}]},
        config(tools=[types.Tool(function_declarations=[types.FunctionDeclaration(name="now")])]),
    ),
    "Google's own tools": Pair(
        {"tools": [WEATHER, {"googleSearch": {}}, {"urlContext": {}}], "web_search_options": None},
        config(tools=[TOOL, types.Tool(google_search=types.GoogleSearch()), types.Tool(url_context=types.UrlContext())]),
    ),
    "search": Pair(
        {"web_search_options": {"search_context_size": "medium"}},
        config(tools=[types.Tool(google_search=types.GoogleSearch())]),
    ),
    "little thinking": Pair(
        {"reasoning_effort": "low"},
        config(thinking_config=types.ThinkingConfig(thinking_budget=1024, include_thoughts=True)),
    ),
    "no thinking": Pair(
        {"reasoning_effort": "none"}, config(thinking_config=types.ThinkingConfig(thinking_budget=0))
    ),
    "thinking by level": Pair(
        {"reasoning_effort": "medium"},
        config(
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.MEDIUM, include_thoughts=True)
        ),
        model="gemini-3-flash-preview",
    ),
    "Gemini's own fields": Pair(
        {
            "cached_content": "cachedContents/x",
            "extra_body": {"google": {"thinkingConfig": {"thinkingBudget": 9}}},
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        },
        config(
            cached_content="cachedContents/x",
            thinking_config=types.ThinkingConfig(thinking_budget=9),
            safety_settings=[
                types.SafetySetting(
                    category=types.HarmCategory.HARM_CATEGORY_HARASSMENT, threshold=types.HarmBlockThreshold.BLOCK_NONE
                )
            ],
        ),
    ),
    "images out": Pair({"modalities": ["text", "image"]}, config(response_modalities=["TEXT", "IMAGE"])),
    "a tier": Pair({"service_tier": "flex"}, config(service_tier=types.ServiceTier.FLEX)),
    "coarse images": Pair(
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}}]}
            ]
        },
        {
            "contents": [types.Content(role="user", parts=[GEMINI_MEDIA[1]])],
            **config(media_resolution=types.MediaResolution.MEDIA_RESOLUTION_LOW),
        },
    ),
    "a signed history": Pair(
        {
            "messages": [
                *QUESTION,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "a",
                            "type": "function",
                            "function": {"name": "weather", "arguments": "{}"},
                            "extra_content": {"google": {"thought_signature": "c2ln"}},
                        }
                    ],
                },
                {
                    "role": "tool",
                    "tool_call_id": "a",
                    "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": PNG_URL}}],
                },
            ]
        },
        {
            "contents": [
                *HI,
                types.Content(
                    role="model",
                    parts=[
                        types.Part(
                            function_call=types.FunctionCall(id="a", name="weather", args={}), thought_signature=b"sig"
                        )
                    ],
                ),
                types.Content(
                    role="user",
                    parts=[
                        types.Part(
                            function_response=types.FunctionResponse(
                                id="a",
                                name="weather",
                                response={"output": "see"},
                                parts=[
                                    types.FunctionResponsePart(
                                        inline_data=types.FunctionResponseBlob(mime_type="image/png", data=PNG)
                                    )
                                ],
                            )
                        )
                    ],
                ),
            ]
        },
        model="gemini-3-pro-preview",
    ),
}  # fmt: skip


def without_call_ids(body: Any) -> Any:
    """`body` without the ids of calls and of their results."""
    for turn in body["contents"]:
        for part in turn["parts"]:
            for name in ("functionCall", "functionResponse"):
                part.get(name, {}).pop("id", None)
    return body


def meaning(value: Any) -> Any:
    """`value` with what means the same made the same.

    JSON of protocol buffers may spell names in snake case (no name of a schema here has an underscore) and base64 in either
    alphabet; a role says nothing where there is only one, and the order of tools nothing at all.
    """
    if isinstance(value, dict):
        plain = {
            re.sub(r"_(\w)", lambda found: found[1].upper(), name): meaning(inner) for name, inner in value.items()
        }
        plain["tools"] = sorted(plain.get("tools", []), key=json.dumps)
        if not plain["tools"]:
            del plain["tools"]
        for name in ("data", "thoughtSignature"):
            if isinstance(plain.get(name), str):
                plain[name] = plain[name].replace("-", "+").replace("_", "/")
        if isinstance(plain.get("systemInstruction"), dict):
            plain["systemInstruction"].pop("role", None)
        if isinstance(plain.get("content"), dict):
            plain["content"].pop("role", None)
        if plain.get("generationConfig") == {}:
            del plain["generationConfig"]
        return plain
    return [meaning(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vertex", [False, True], ids=["ai-studio", "vertex"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_request_means_what_the_sdk_would_send(name: str, vertex: bool) -> None:
    pair = PAIRS[name]
    arguments = {"contents": HI, **pair.sdk}
    received = sdk_request(lambda client: client.models.generate_content(model=pair.model, **arguments), vertex=vertex)
    request = build_request(pair.openai, model=pair.model, vertex=vertex)
    ours = meaning(json.loads(request.content))
    theirs = meaning(received.body)
    if name == "Gemini's own fields" and vertex:
        # The SDK completes the name of a cache with the client's project; the adapter sends it unchanged.
        theirs["cachedContent"] = "cachedContents/x"
    if vertex:
        # The SDK sends the ids of calls to Vertex too, which answers `Unknown name "id"`.
        theirs = without_call_ids(theirs)
    assert ours == theirs
    assert request.dropped == ()


@pytest.mark.parametrize("vertex", [False, True], ids=["ai-studio", "vertex"])
def test_a_stream_is_requested_at_the_sdks_url(vertex: bool) -> None:
    received = sdk_request(
        lambda client: list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="hi")),
        vertex=vertex,
        stream=True,
    )
    version = received.path.split("/")[1]
    request = build_request(
        {"stream": True}, stream=True, vertex=vertex, key_fields={**PROJECT, "api_version": "v1beta1"}
    )
    assert request.url.endswith("?alt=sse")
    assert request.headers["accept"] == "text/event-stream"
    path = request.url.removesuffix("?alt=sse").partition(".com/")[2]
    assert path.partition("/")[2] == received.path.removeprefix(f"/{version}/")
    if vertex:
        assert received.headers["Authorization"] == "Bearer ya29.test"
        assert request.auth == BEARER
    else:
        assert received.headers["x-goog-api-key"] == "AIza-test"
        assert request.auth == HeaderAuth("x-goog-api-key", "")


def test_metadata_becomes_labels_on_vertex() -> None:
    fields = config(labels={"team": "blue"})
    received = sdk_request(
        lambda client: client.models.generate_content(model="gemini-2.5-flash", contents="hi", **fields), vertex=True
    )
    request = build_request({"metadata": {"team": "blue"}}, vertex=True)
    assert meaning(json.loads(request.content)) == meaning(received.body)


@pytest.mark.parametrize("texts", [["a"], ["a", "b"]], ids=len)
@pytest.mark.parametrize("vertex", [False, True], ids=["ai-studio", "vertex"])
@pytest.mark.parametrize("model", ["gemini-embedding-001", "text-embedding-005"])
def test_embedding_requests_match_the_sdk(model: str, vertex: bool, texts: list[str]) -> None:
    options = types.EmbedContentConfig(
        output_dimensionality=8, task_type="RETRIEVAL_QUERY", title="t", auto_truncate=False if vertex else None
    )
    contents: list[Any] = list(texts)
    received = sdk_request(
        lambda client: client.models.embed_content(model=model, contents=contents, config=options), vertex=vertex
    )
    body = {"input": texts, "dimensions": 8, "task_type": "RETRIEVAL_QUERY", "title": "t"}
    request = build_request(body, model=model, vertex=vertex, kind=RequestKind.EMBEDDING)
    assert request.url.rpartition("/")[2] == received.path.rpartition("/")[2]
    requests = [{"model": f"models/{model}", **each} for each in received.body.get("requests", [])]
    theirs = received.body if vertex or not requests else {"requests": requests}
    assert meaning(json.loads(request.content)) == meaning(theirs)
