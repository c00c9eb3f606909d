"""Reads one GenerateContentResponse into a `chat.completion`."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.gemini.candidates import GeminiCandidate, extra_content, openai_logprobs
from services.provider_worker.adapters.gemini.envelope import ResponseEnvelope, block_reason
from services.provider_worker.adapters.gemini.errors import failure_of_error, find_error
from services.provider_worker.adapters.gemini.usage import GeminiUsage, read_usage
from services.provider_worker.adapters.response.body import ObjectReader
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    RESPONSE_TOO_DEEP,
    failure_of_invalid_body,
    invalid_response,
)
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_object,
    as_objects,
    parse_first_object,
    render,
)


class CompletionReader(ObjectReader):
    """Buffers the body and reads it at its end."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._call_id_prefix = f"call_{run.attempt_id}"
        self._envelope = ResponseEnvelope(run, headers)
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """Return the completion.

        A blocked prompt, or an answer cut off by a filter, ends with `content_filter`, not a failure.
        """
        self._envelope.read(document)
        usage = read_usage(as_object(document.get("usageMetadata")))
        failure, body, finish_reason = self._failure_in(document), b"", None
        if failure is None:
            try:
                choices = self._build_choices(document)
                finish_reason = str(choices[0]["finish_reason"])
                body = self._render(choices, usage)
            except ValueError:
                failure, finish_reason = invalid_response(RESPONSE_TOO_DEEP), None
        return Answer(
            failure=failure,
            body=body,
            finish_reason=finish_reason,
            model_served=self._envelope.model_served,
            service_tier=usage.service_tier,
            usage=usage.report,
        )

    def _no_object(self, content: bytes) -> Failure:
        return failure_of_body(content)

    def _failure_in(self, document: JsonObject) -> Failure | None:
        error = find_error(document)
        if error is not None:
            return failure_of_error(error, Where.HTTP_200_BODY)
        if not as_objects(document.get("candidates")) and block_reason(document) is None:
            return invalid_response(EMPTY_RESPONSE)
        return None

    def _build_choices(self, document: JsonObject) -> list[JsonObject]:
        candidates = as_objects(document.get("candidates"))
        if not candidates:
            return [
                build_blocked_choice("message", {"role": "assistant", "content": None}, block_reason(document) or "")
            ]
        return [self._build_choice(candidate, position) for position, candidate in enumerate(candidates)]

    def _build_choice(self, candidate: JsonObject, position: int) -> JsonObject:
        state = GeminiCandidate(f"{self._call_id_prefix}_{position}" if position else self._call_id_prefix)
        message: JsonObject = {"role": "assistant", "content": None} | state.delta(candidate)
        for call in as_objects(message.get("tool_calls")):
            del call["index"]
        return {
            "index": position,
            "message": message,
            "logprobs": openai_logprobs(candidate),
            # A complete document needs no finish reason.
            "finish_reason": state.finish_reason or ("tool_calls" if "tool_calls" in message else "stop"),
            "native_finish_reason": state.finish_word,
        } | extra_content(candidate)

    def _render(self, choices: list[JsonObject], usage: GeminiUsage) -> bytes:
        completion = self._envelope.around("chat.completion") | {"choices": choices}
        if usage.openai is not None:
            completion["usage"] = usage.openai
        if usage.service_tier:
            completion["service_tier"] = usage.service_tier
        return render(completion)


def build_blocked_choice(name: str, value: JsonObject, reason: str) -> JsonObject:
    """Build the choice for a prompt blocked for `reason`, with `value` under `name` (`message` or `delta`)."""
    return {
        "index": 0,
        name: value,
        "logprobs": None,
        "finish_reason": "content_filter",
        "native_finish_reason": reason,
    }


def failure_of_body(content: bytes) -> Failure:
    """Return the failure of a body under status 200 that is not a JSON object; it may be a list that holds an error."""
    error = find_error(parse_first_object(content))
    if error is not None:
        return failure_of_error(error, Where.HTTP_200_BODY)
    return failure_of_invalid_body(content)
