"""Reads answers that come as one document: plain JSON completions, and errors under any status."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.openai_compatible.message import repair_message, says_something
from services.provider_worker.adapters.openai_compatible.tool_calls import repair_whole_calls
from services.provider_worker.adapters.response.errors import (
    error_in,
    failure_in_choices,
    failure_of_error,
    failure_of_response,
)
from services.provider_worker.adapters.response.finish_reason import openai_finish
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    Mended,
    as_object,
    as_objects,
    first_object,
    parse_object,
    render,
)
from services.provider_worker.adapters.response.token_usage import Usage, metered, read_usage
from services.provider_worker.adapters.response.unusable import (
    NO_STREAM,
    SILENT,
    TOO_DEEP,
    TOO_LARGE,
    no_object,
    unusable,
)

MAX_ANSWER_BYTES = 32 * 1024 * 1024
"""Largest answer that is kept in memory; base64 images and audio fit."""

MAX_ERROR_BYTES = 64 * 1024
"""What is read of an error body; an explanation is not longer."""


class Collected:
    """The bytes of a body, up to a limit."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.too_large = False
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._bytes = 0

    def add(self, data: bytes) -> None:
        """Adds `data`, or what of it still fits."""
        if self.too_large:
            return
        self._pieces.append(data[: self._max_bytes - self._bytes])
        self._bytes += len(data)
        self.too_large = self._bytes > self._max_bytes

    @property
    def content(self) -> bytes:
        """What was kept."""
        return b"".join(self._pieces)


class CollectingReader:
    """What every reader of a body that is read at its end begins with: `_body` keeps up to `max_bytes` of it."""

    def __init__(self, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._body = Collected(max_bytes)

    @property
    def over(self) -> bool:
        """Whether more has come than is kept."""
        return self._body.too_large

    def feed(self, data: bytes) -> list[bytes]:
        """Keeps `data`; a body that is read at its end has no chunks."""
        self._body.add(data)
        return []


class ObjectReader(CollectingReader, ABC):
    """What every reader of an answer that is one JSON object begins with. White space around it is no part of it."""

    def close(self) -> Answer:
        """What the object says, or why there is none."""
        if self._body.too_large:
            return Answer(failure=unusable(TOO_LARGE))
        content = self._body.content.strip()
        document = parse_object(content)
        return Answer(failure=self._no_object(content)) if document is None else self._read(document, content)

    @abstractmethod
    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """What `document`, whose text is `content`, says."""

    def _no_object(self, content: bytes) -> Failure:
        """Why `content` is no answer."""
        return no_object(content)


class ErrorReader(CollectingReader):
    """Reads a response whose status is not 2xx."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status
        self._headers = headers
        super().__init__(MAX_ERROR_BYTES)

    def close(self) -> Answer:
        """The failure."""
        return Answer(failure=failure_of_response(self._status, self._headers, self._body.content))


class WholeReader(ObjectReader):
    """Reads one `chat.completion` object. Whitespace before it, which keeps connections alive, is no part of it."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._call_id_prefix = f"call_{run.attempt_id}"
        self._headers = headers
        super().__init__()

    def _read(self, document: JsonObject, content: bytes) -> Answer:
        """The completion, its bytes unchanged where they have OpenAI's shape already."""
        choices = as_objects(document.get("choices"))
        failure = self._failure_in(document, choices)
        usage = read_usage(document.get("usage"))
        token_usage, usage_source, cost = metered(usage)
        model = document.get("model")
        finish_reason, body = None, b""
        if failure is None:
            try:
                changed = self._repair(document, choices, usage) or isinstance(document, Mended)
                body = render(document) if changed else content
                finish_reason = str(choices[0]["finish_reason"])
            except ValueError:
                failure = unusable(TOO_DEEP)
        return Answer(
            failure=failure,
            body=body,
            finish_reason=finish_reason,
            model_served=model if isinstance(model, str) and model else None,
            token_usage=token_usage,
            usage_source=usage_source,
            reported_cost_usd=cost,
        )

    def _no_object(self, content: bytes) -> Failure:
        return failure_under_200(content, self._headers) or no_object(content)

    def _failure_in(self, document: JsonObject, choices: list[JsonObject]) -> Failure | None:
        error = error_in(document)
        if error is not None:
            return failure_of_error(error, Where.HTTP_200_BODY, self._headers)
        failure = failure_in_choices(choices, Where.HTTP_200_BODY, self._headers)
        if failure is not None:
            return failure
        if not any(
            choice.get("finish_reason") or says_something(as_object(choice.get("message"))) for choice in choices
        ):
            return unusable(SILENT)
        return None

    def _repair(self, document: JsonObject, choices: list[JsonObject], usage: Usage | None) -> bool:
        """Puts a completion right in place; whether anything had to be changed."""
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
        # A complete document is an ending by itself; OpenRouter leaves the word out now and then.
        reason = openai_finish(word if isinstance(word, str) else "", calls_tools=bool(message.get("tool_calls")))
        if reason != word:
            choice["finish_reason"], changed = reason, True
        changed = repair_message(message) or changed
        return (
            repair_whole_calls(message, self._call_id_prefix, cut_short=reason not in ("stop", "tool_calls")) or changed
        )


def failure_under_200(content: bytes, headers: Mapping[str, str]) -> Failure | None:
    """The failure that the document `content`, or the first of a list, says of itself under status 200; null for none."""
    document = first_object(content)
    error = None if document is None else error_in(document)
    return None if error is None else failure_of_error(error, Where.HTTP_200_BODY, headers)


def document_failure(content: bytes, headers: Mapping[str, str]) -> Failure:
    """The failure behind a document that came in place of an event stream, under status 200."""
    return failure_under_200(content, headers) or unusable(NO_STREAM)
