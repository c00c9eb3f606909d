"""Reads non-streamed chat completions of OpenAI-compatible providers."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.errors import failure_in_body
from services.provider_worker.adapters.openai_compatible.message import has_output, repair_message
from services.provider_worker.adapters.openai_compatible.tool_calls import repair_complete_calls
from services.provider_worker.adapters.response.body import ObjectReader
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    RESPONSE_TOO_DEEP,
    failure_of_error,
    failure_of_invalid_body,
    find_choice_failure,
    find_error,
    invalid_response,
)
from services.provider_worker.adapters.response.finish_reason import as_finish_reason, openai_finish_reason
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    RepairedObject,
    as_object,
    as_objects,
    render,
)
from services.provider_worker.adapters.response.token_usage import OpenAIUsage, read_usage, report_and_cost


class CompletionReader(ObjectReader):
    """Reads one `chat.completion` object. Whitespace before it, which keeps connections alive, is ignored."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._call_id_prefix = f"call_{run.attempt_id}"
        self._headers = headers
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """Return the completion, its bytes unchanged if they already have OpenAI's shape."""
        choices = as_objects(document.get("choices"))
        failure = self._failure_in(document, choices)
        usage = read_usage(document.get("usage"))
        report, cost = report_and_cost(usage)
        model = document.get("model")
        finish_reason, body = None, b""
        if failure is None:
            try:
                changed = self._repair(document, choices, usage) or isinstance(document, RepairedObject)
                body = render(document) if changed else content
                finish_reason = str(choices[0]["finish_reason"])
            except ValueError:
                failure = invalid_response(RESPONSE_TOO_DEEP)
        return Answer(
            failure=failure,
            body=body,
            finish_reason=finish_reason,
            model_served=model if isinstance(model, str) and model else None,
            usage=report,
            reported_cost_usd=cost,
        )

    def _no_object(self, content: bytes) -> Failure:
        return failure_in_body(content, self._headers) or failure_of_invalid_body(content)

    def _failure_in(self, document: JsonObject, choices: list[JsonObject]) -> Failure | None:
        error = find_error(document)
        if error is not None:
            return failure_of_error(error, Where.HTTP_200_BODY, self._headers)
        failure = find_choice_failure(choices, Where.HTTP_200_BODY, self._headers)
        if failure is not None:
            return failure
        if not any(choice.get("finish_reason") or has_output(as_object(choice.get("message"))) for choice in choices):
            return invalid_response(EMPTY_RESPONSE)
        return None

    def _repair(self, document: JsonObject, choices: list[JsonObject], usage: OpenAIUsage | None) -> bool:
        """Repair a completion in place; return whether anything changed."""
        changed = choices != document.get("choices")
        document["choices"] = choices
        for choice in choices:
            changed = self._repair_choice(choice) or changed
        if usage is not None and usage.openai is not document["usage"]:
            document["usage"] = usage.openai
            changed = True
        return changed

    def _repair_choice(self, choice: JsonObject) -> bool:
        changed = not isinstance(choice.get("message"), dict)
        message = as_object(choice.get("message")) or {"role": "assistant", "content": None}
        choice["message"] = message
        word = choice.get("finish_reason")
        # A complete document needs no finish reason; OpenRouter leaves it out now and then.
        reason = openai_finish_reason(as_finish_reason(word), calls_tools=bool(message.get("tool_calls")))
        if reason != word:
            choice["finish_reason"], changed = reason, True
        changed = repair_message(message) or changed
        return (
            repair_complete_calls(message, self._call_id_prefix, cut_short=reason not in ("stop", "tool_calls"))
            or changed
        )
