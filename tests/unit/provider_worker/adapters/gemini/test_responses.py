"""Responses in rare shapes. All of them are hand-made, after Google's API reference and the notes on recorded traffic."""

import json
from typing import Any

import pytest

from keyferry.contracts.failure import FailureClass, Where
from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.usage_report import UsageReport
from tests.unit.provider_worker.adapters.gemini.response_reading import (
    answer_of,
    event,
    read,
    read_complete,
    read_stream,
)

TEXT = {"text": "Hallo"}
CALL = {"functionCall": {"name": "now"}}
USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("UNEXPECTED_TOOL_CALL", "stop"),
        ("OTHER", "stop"),
        ("A_WORD_OF_NEXT_YEAR", "stop"),
    ],
)
def test_finish_reasons_are_openais(word: str, reason: str) -> None:
    for parts in ([TEXT], []):
        completion, answer = read_complete(answer_of(*parts, finish=word))
        choice = completion["choices"][0]
        assert (choice["finish_reason"], choice["native_finish_reason"]) == (reason, word)
        assert choice["message"]["content"] == ("Hallo" if parts else None)
        assert answer.finish_reason == reason
        chunks, answer = read_stream(answer_of(*parts, finish=word))
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert (chunks[-1]["choices"][0]["finish_reason"], answer.finish_reason) == (reason, reason)
        assert chunks[-1]["choices"][0]["native_finish_reason"] == word
        assert answer.failure is None


@pytest.mark.parametrize(
    ("number", "reason"),
    [(1, "stop"), (2, "length"), (3, "content_filter"), (4, "content_filter"), (5, "stop"), (99, "stop")],
)
def test_a_finish_reason_may_be_a_number_of_googles_enumeration(number: int, reason: str) -> None:
    document = answer_of(TEXT)
    document["candidates"][0]["finishReason"] = number
    assert read_complete(document)[1].finish_reason == reason
    assert read_stream(document)[1].finish_reason == reason


def test_arguments_in_a_text_are_kept() -> None:
    call = {"functionCall": {"name": "now", "args": '{"zone":"CET"}'}}
    message = read_complete(answer_of(call))[0]["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["arguments"] == '{"zone":"CET"}'


def test_filtered_calls_finish_as_content_filter() -> None:
    assert read_complete(answer_of(CALL, finish="SAFETY"))[1].finish_reason == "content_filter"
    assert read_complete(answer_of(CALL, finish="MAX_TOKENS"))[1].finish_reason == "length"


@pytest.mark.parametrize("usage", [{}, {"promptTokenCount": 4, "totalTokenCount": 4}])
def test_a_blocked_prompt_finishes_as_content_filter(usage: dict[str, int]) -> None:
    document = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": usage, "modelVersion": "g"}
    completion, answer = read_complete(document)
    choice = completion["choices"][0]
    assert choice["message"] == {"role": "assistant", "content": None}
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("content_filter", "PROHIBITED_CONTENT")
    assert (completion.get("usage") or {}).get("total_tokens", 0) == len(usage) * 2
    assert answer.failure is None
    assert answer.usage_source is (UsageSource.REPORTED if usage else UsageSource.NONE)
    chunks, streamed_answer = read_stream(document)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == ["content_filter"]
    assert streamed_answer == type(answer)(**{**_fields(answer), "body": b""})


def _fields(answer: Any) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in type(answer).__slots__}


def test_calls_without_ids_get_ids() -> None:
    completion, _ = read_complete(
        answer_of(CALL, {"functionCall": {"name": "now", "args": {"zone": "Köln"}, "id": ""}})
    )
    calls = completion["choices"][0]["message"]["tool_calls"]
    assert [call["id"] for call in calls] == ["call_att_test_0", "call_att_test_1"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{}, {"zone": "Köln"}]
    assert all("index" not in call for call in calls)
    chunks, _ = read_stream(answer_of(CALL, finish=None), answer_of(CALL, finish=None), answer_of(finish="STOP"))
    pieces = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [(call["index"], call["id"]) for call in pieces] == [(0, "call_att_test_0"), (1, "call_att_test_1")]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_duplicate_call_ids_become_unique() -> None:
    call = {"functionCall": {"name": "now", "id": "x"}}
    calls = read_complete(answer_of(call, call))[0]["choices"][0]["message"]["tool_calls"]
    assert [each["id"] for each in calls] == ["x", "call_att_test_1"]


def test_candidates_are_kept_separate() -> None:
    first = {"index": 0, "content": {"parts": [CALL]}, "finishReason": "STOP"}
    second = {"index": 1, "content": {"parts": [CALL, TEXT]}}
    completion, answer = read_complete({"candidates": [first, {**second, "finishReason": "MAX_TOKENS"}]})
    assert [choice["finish_reason"] for choice in completion["choices"]] == ["tool_calls", "length"]
    assert answer.finish_reason == "tool_calls"
    ids = [choice["message"]["tool_calls"][0]["id"] for choice in completion["choices"]]
    assert ids == ["call_att_test_0", "call_att_test_1_0"]
    chunks, answer = read_stream(
        {"candidates": [second, first]}, {"candidates": [{"index": 1, "finishReason": "STOP"}]}
    )
    assert answer.failure is None
    roles = [chunk["choices"][0]["index"] for chunk in chunks if "role" in chunk["choices"][0]["delta"]]
    assert sorted(roles) == [0, 1]


def test_an_unfinished_candidate_truncates_the_answer() -> None:
    _, answer = read_stream(
        {"candidates": [{"index": 0, "content": {"parts": [TEXT]}}, {"index": 1, "content": {"parts": [TEXT]}}]},
        {"candidates": [{"index": 0, "finishReason": "STOP"}]},
    )
    assert answer.failure is not None
    assert answer.failure.failure_class is FailureClass.TRUNCATED


def test_output_after_a_finish_reason_still_counts() -> None:
    """Older models say STOP in every piece."""
    chunks, answer = read_stream(
        answer_of({"text": "a"}, usageMetadata={"promptTokenCount": 1, "totalTokenCount": 1}),
        answer_of({"text": "b"}, usageMetadata=USAGE),
        answer_of(CALL, usageMetadata=USAGE),
        include_usage=True,
    )
    deltas = [chunk["choices"][0] for chunk in chunks if chunk["choices"]]
    assert "".join(delta["delta"].get("content", "") for delta in deltas) == "ab"
    assert [delta["finish_reason"] for delta in deltas if delta["finish_reason"]] == ["stop", "tool_calls"]
    assert answer.finish_reason == "tool_calls"
    assert [chunk["usage"]["total_tokens"] for chunk in chunks if chunk["usage"]] == [1, 7]
    assert answer.token_usage.total == 7


def test_usage_may_come_after_the_finish_reason_or_only_before_it() -> None:
    late, answer = read_stream(answer_of(TEXT), {"usageMetadata": USAGE}, include_usage=True)
    assert late[-1]["usage"]["total_tokens"] == answer.token_usage.total == 7
    early, answer = read_stream(answer_of(TEXT, finish=None, usageMetadata=USAGE), answer_of(), include_usage=True)
    assert early[-1]["usage"]["total_tokens"] == answer.token_usage.total == 7
    assert early[-1]["choices"] == []


def test_thoughts_images_and_executed_code_are_returned() -> None:
    parts: list[dict[str, Any]] = [
        {"text": "Hm. ", "thought": True},
        {"text": "So.", "thought": True},
        {"executableCode": {"language": "PYTHON", "code": "1+1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"inlineData": {"mimeType": "audio/L16", "data": "BBBB"}},
        TEXT,
    ]
    message = read_complete(answer_of(*parts))[0]["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm. So."
    assert message["content"] == "Hallo"
    assert message["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    assert message["content_parts"] == [parts[2], parts[3], parts[5]]


def test_grounding_and_ratings_are_passed_on() -> None:
    document = answer_of(TEXT)
    document["candidates"][0] |= {"groundingMetadata": {"webSearchQueries": ["x"]}, "safetyRatings": [], "extra": 1}
    expected = {"google": {"grounding_metadata": {"webSearchQueries": ["x"]}}}
    assert read_complete(document)[0]["choices"][0]["extra_content"] == expected
    assert read_stream(document)[0][-1]["choices"][0]["extra_content"] == expected


def test_log_probabilities_in_openais_form() -> None:
    document = answer_of(TEXT)
    document["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "Hal", "tokenId": 1, "logProbability": -0.5}, {"token": "lö"}],
        "topCandidates": [
            {"candidates": [{"token": "Hal", "logProbability": -0.5}, {"token": "He", "logProbability": -2}]}
        ],
    }
    expected = {
        "content": [
            {
                "token": "Hal",
                "logprob": -0.5,
                "bytes": [72, 97, 108],
                "top_logprobs": [
                    {"token": "Hal", "logprob": -0.5, "bytes": [72, 97, 108]},
                    {"token": "He", "logprob": -2, "bytes": [72, 101]},
                ],
            },
            {"token": "lö", "logprob": 0.0, "bytes": [108, 195, 182], "top_logprobs": []},
        ],
        "refusal": None,
    }
    assert read_complete(document)[0]["choices"][0]["logprobs"] == expected
    assert read_stream(document)[0][0]["choices"][0]["logprobs"] == expected


def test_created_is_the_providers_time() -> None:
    assert read_complete(answer_of(TEXT, createTime="2026-07-22T23:37:37.029264Z"))[0]["created"] == 1784763457
    assert read_complete(answer_of(TEXT))[0]["created"] == 784111777
    assert read_complete(answer_of(TEXT, responseId="Ab-1_x"))[0]["id"] == "chatcmpl-Ab-1_x"
    assert read_complete(answer_of(TEXT, responseId="a b"))[0]["id"] == "chatcmpl-att_test"


@pytest.mark.parametrize(
    ("usage", "token_usage"),
    [
        ({"promptTokenCount": 5, "totalTokenCount": 5}, TokenUsage(input=5)),
        ({"promptTokenCount": 5, "thoughtsTokenCount": 9, "totalTokenCount": 14}, TokenUsage(input=5, reasoning=9)),
        (
            {"promptTokenCount": 5, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 2, "totalTokenCount": 37},
            TokenUsage(input=35, output=2),
        ),
        (
            {"promptTokenCount": 9, "cachedContentTokenCount": 8, "candidatesTokenCount": 2, "totalTokenCount": 11},
            TokenUsage(input=1, cached_read=8, output=2),
        ),
        # Tokens of the total that appear nowhere else are hidden thinking.
        ({"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 20}, TokenUsage(input=5, output=2, reasoning=13)),
        # Thoughts that the total does not count apart are among the candidates' tokens.
        (
            {"promptTokenCount": 5, "candidatesTokenCount": 9, "thoughtsTokenCount": 4, "totalTokenCount": 14},
            TokenUsage(input=5, output=5, reasoning=4),
        ),
        (
            {"promptTokenCount": 35, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 2, "totalTokenCount": 37},
            TokenUsage(input=35, output=2),
        ),
        (
            {
                "promptTokenCount": 100, "candidatesTokenCount": 60, "totalTokenCount": 160, "cachedContentTokenCount": 30,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 20}, {"modality": "AUDIO", "tokenCount": 50},
                    {"modality": "IMAGE", "tokenCount": 30},
                ],
                "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}],
                "candidatesTokensDetails": [
                    {"modality": "IMAGE", "tokenCount": 40}, {"modality": "AUDIO", "tokenCount": 15},
                ],
            },
            TokenUsage(input=20, cached_read=30, audio=20, image=30, output=5, audio_output=15, image_output=40),
        ),
        # Thoughts and tool results that do not fit the total are inside the main counts.
        (
            {
                "promptTokenCount": 80, "toolUsePromptTokenCount": 6, "candidatesTokenCount": 15, "thoughtsTokenCount": 10,
                "totalTokenCount": 100,
            },
            TokenUsage(input=85, output=5, reasoning=10),
        ),
    ],
)  # fmt: skip
def test_token_counts_are_disjoint_and_add_up(usage: dict[str, Any], token_usage: TokenUsage) -> None:
    completion, answer = read_complete(answer_of(TEXT, usageMetadata=usage))
    assert answer.token_usage == token_usage
    assert completion["usage"]["prompt_tokens"] == token_usage.prompt
    assert completion["usage"]["completion_tokens"] == token_usage.completion
    assert completion["usage"]["total_tokens"] == token_usage.total
    assert completion["usage"]["prompt_tokens_details"]["cached_tokens"] == token_usage.cached_read
    assert completion["usage"]["completion_tokens_details"]["reasoning_tokens"] == token_usage.reasoning
    assert answer.usage_source is (UsageSource.REPORTED if token_usage.total else UsageSource.NONE)


def test_counts_that_cannot_be_right_are_unknown_and_named() -> None:
    usage = {"promptTokenCount": True, "totalTokenCount": -1, "candidatesTokenCount": "3"}
    completion, answer = read_complete(answer_of(TEXT, usageMetadata=usage))
    assert "usage" not in completion
    known = UsageReport(
        TokenUsage(output=3), completion_known=True, implausible=("promptTokenCount", "totalTokenCount")
    )
    assert answer.usage == known


@pytest.mark.parametrize(
    ("usage", "tier"),
    [
        ({"serviceTier": "flex"}, "flex"),
        ({"serviceTier": "standard"}, None),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, None),
    ],
)
def test_priced_service_tiers_are_reported(usage: dict[str, str], tier: str | None) -> None:
    completion, answer = read_complete(answer_of(TEXT, usageMetadata={**USAGE, **usage}))
    assert answer.service_tier == tier == completion.get("service_tier")
    assert read_stream(answer_of(TEXT, usageMetadata={**USAGE, **usage}))[1].service_tier == tier


@pytest.mark.parametrize("form", ["list", "bare"])
def test_a_json_list_reads_like_an_event_stream(form: str) -> None:
    documents = [
        answer_of({"text": 'a "quoted" \\ {brace] 👋'}, finish=None),
        answer_of({"text": "[{"}, finish=None),
        answer_of(finish="STOP", usageMetadata=USAGE),
    ]
    joined = ",\r\n".join(json.dumps(document, indent=1) for document in documents).encode()
    body = b"[" + joined + b"\n]\n" if form == "list" else joined.replace(b",\r\n{", b"\n{")
    events = read(b"".join(map(event, documents)), stream=True)
    assert events[1].failure is None
    assert read(body, stream=True) == events
    assert read(body, stream=True, cuts=range(len(body))) == events
    _, cut = read(body[: body.rindex(b"STOP")], stream=True)
    assert cut.failure is not None
    assert cut.failure.failure_class is FailureClass.TRUNCATED


@pytest.mark.parametrize(
    ("body", "failure_class", "where"),
    [
        (event({"error": {"code": 503, "status": "UNAVAILABLE"}}), "overloaded", Where.HTTP_200_BODY),
        (event(answer_of(TEXT, finish=None)) + event({"error": {"code": 500}}), "server", Where.MID_STREAM),
        # An error between events that is not an event itself.
        (
            event(answer_of(TEXT, finish=None)) + b'{\n "error": {\n  "code": 429,\n  "message": "slow down"\n }\n}\n',
            "rate_limit",
            Where.MID_STREAM,
        ),
        (b'[{"error": {"code": 503, "message": "busy"}}]', "overloaded", Where.HTTP_200_BODY),
        (b'{"error": {"status": "RESOURCE_EXHAUSTED", "message": "slow"}}', "rate_limit", Where.HTTP_200_BODY),
        (b"<html>Sign in</html>", "server", Where.HTTP_200_BODY),
        (b"[]", "server", Where.HTTP_200_BODY),
        (b"data: [DONE]\n\n", "server", Where.HTTP_200_BODY),
        (b"", "truncated", Where.MID_STREAM),
        (event({"usageMetadata": USAGE}), "truncated", Where.MID_STREAM),
        (b"data: {\r\n\r\n", "server", Where.MID_STREAM),
        (b'data: [{"error": {"code": 503, "message": "busy"}}]\r\n\r\n', "overloaded", Where.HTTP_200_BODY),
        (event(answer_of(TEXT, finish=None)) + event(answer_of(TEXT)).rstrip()[:-1], "truncated", Where.MID_STREAM),
    ],
)
def test_failures_inside_a_stream(body: bytes, failure_class: str, where: Where) -> None:
    for cuts in (range(0), range(len(body))):
        chunks, answer = read(body, stream=True, cuts=cuts)
        assert answer.failure is not None
        assert (answer.failure.failure_class, answer.failure.where) == (failure_class, where)
        assert len(chunks) == body.startswith(event(answer_of(TEXT, finish=None)))


def test_a_last_event_without_its_blank_line_is_delivered_late() -> None:
    body = event(answer_of(TEXT, finish=None)) + event(answer_of(TEXT)).rstrip()
    chunks, answer = read(body, stream=True)
    assert answer.failure is None
    late = [json.loads(chunk)["choices"] for chunk in answer.late]
    assert len(chunks) == 1
    assert [choice["finish_reason"] for choices in late for choice in choices] == [None, "stop"]


@pytest.mark.parametrize(
    ("body", "failure_class"),
    [
        (b'{"error": {"code": 503, "message": "busy"}}', "overloaded"),
        (b'[{"error": {"code": 400, "message": "API key not valid."}}]', "auth"),
        (b'{"candidates": []}', "server"),
        (b'{"candidates": [', "truncated"),
        (b"", "server"),
        (b"<html></html>", "server"),
        (b"{}", "server"),
    ],
)
def test_failures_under_status_200(body: bytes, failure_class: str) -> None:
    _, answer = read(body, stream=False)
    assert answer.failure is not None
    assert (answer.failure.failure_class, answer.failure.where) == (failure_class, Where.HTTP_200_BODY)
    assert answer.body == b""


@pytest.mark.parametrize(
    "last",
    [
        {},
        {"promptTokenCount": 0, "totalTokenCount": 0},
        {"promptTokenCount": 500, "candidatesTokenCount": 3, "totalTokenCount": 503},
    ],
)
def test_a_last_piece_that_reports_less_takes_nothing_away(last: dict[str, int]) -> None:
    full = {"promptTokenCount": 500, "cachedContentTokenCount": 400, "candidatesTokenCount": 3, "totalTokenCount": 503}
    pieces = [answer_of(TEXT, finish=None, usageMetadata=full), answer_of(TEXT, usageMetadata=last)]
    chunks, answer = read_stream(*pieces, include_usage=True)
    assert answer.usage == UsageReport(TokenUsage(input=100, cached_read=400, output=3), True, True)
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 400}
