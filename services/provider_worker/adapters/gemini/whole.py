"""Reads one GenerateContentResponse into a `chat.completion`."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.documents import (
    JsonObject,
    as_object,
    as_objects,
    first_object,
    parse_object,
    render,
)
from services.provider_worker.adapters.failures import plain_failure
from services.provider_worker.adapters.gemini.candidates import Candidate, logprobs_of, metadata_of
from services.provider_worker.adapters.gemini.envelope import Envelope, block_reason
from services.provider_worker.adapters.gemini.failures import error_in, failure_of_error
from services.provider_worker.adapters.gemini.usage import Usage, read_usage
from services.provider_worker.adapters.whole import CollectingReader


class WholeReader(CollectingReader):
    """Collects the body and reads it at its end."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._call_id_prefix = f"call_{run.attempt_id}"
        self._envelope = Envelope(run, headers)
        super().__init__()

    def close(self) -> Answer:
        """The completion. A refused prompt, or an answer cut off by a filter, ends with `content_filter` and no failure."""
        if self._body.too_large:
            return Answer(failure=_failure("The provider's answer is larger than the gateway reads (32 MiB)."))
        content = self._body.content.strip()
        document = parse_object(content)
        if document is None:
            return Answer(failure=no_object(content))
        self._envelope.read(document)
        usage = read_usage(as_object(document.get("usageMetadata")))
        failure, body, finish_reason = self._failure_in(document), b"", None
        if failure is None:
            try:
                choices = self._choices(document)
                finish_reason = str(choices[0]["finish_reason"])
                body = self._render(choices, usage)
            except ValueError:
                failure, finish_reason = _failure("The provider's answer is nested too deeply."), None
        return Answer(
            failure=failure,
            body=body,
            finish_reason=finish_reason,
            model_served=self._envelope.model_served,
            service_tier=usage.service_tier,
            meters=usage.meters,
            basis=usage.basis,
        )

    def _failure_in(self, document: JsonObject) -> Failure | None:
        error = error_in(document)
        if error is not None:
            return failure_of_error(error, Where.HTTP_200_BODY)
        if not as_objects(document.get("candidates")) and block_reason(document) is None:
            return _failure("The provider ended its answer without having said anything.")
        return None

    def _choices(self, document: JsonObject) -> list[JsonObject]:
        candidates = as_objects(document.get("candidates"))
        if not candidates:
            return [blocked_choice("message", {"role": "assistant", "content": None}, block_reason(document) or "")]
        return [self._choice(candidate, position) for position, candidate in enumerate(candidates)]

    def _choice(self, candidate: JsonObject, position: int) -> JsonObject:
        state = Candidate(f"{self._call_id_prefix}_{position}" if position else self._call_id_prefix)
        message: JsonObject = {"role": "assistant", "content": None} | state.delta(candidate)
        for call in as_objects(message.get("tool_calls")):
            del call["index"]
        return {
            "index": position,
            "message": message,
            "logprobs": logprobs_of(candidate),
            # A complete document is an ending by itself.
            "finish_reason": state.finish_reason or ("tool_calls" if "tool_calls" in message else "stop"),
            "native_finish_reason": state.finish_word,
        } | metadata_of(candidate)

    def _render(self, choices: list[JsonObject], usage: Usage) -> bytes:
        completion = self._envelope.around("chat.completion") | {"choices": choices, "usage": usage.openai}
        if usage.service_tier:
            completion["service_tier"] = usage.service_tier
        return render(completion)


def blocked_choice(name: str, said: JsonObject, reason: str) -> JsonObject:
    """The choice for a prompt that was refused for `reason`, with `said` under `name` (`message` or `delta`)."""
    return {
        "index": 0,
        name: said,
        "logprobs": None,
        "finish_reason": "content_filter",
        "native_finish_reason": reason,
    }


def no_object(content: bytes) -> Failure:
    """Why a body under status 200 that is no JSON object is no answer."""
    error = error_in(first_object(content))
    if error is not None:
        return failure_of_error(error, Where.HTTP_200_BODY)
    if content[:1] == b"{":
        message = "The provider's answer stopped before it was complete."
        return plain_failure(FailureClass.TRUNCATED, message, Where.HTTP_200_BODY)
    if not content:
        return _failure("The provider answered with status 200 and nothing else.")
    return _failure("The provider's answer is not a JSON object; check that the base URL is that of its API.")


def _failure(message: str) -> Failure:
    return plain_failure(FailureClass.SERVER, message, Where.HTTP_200_BODY)
