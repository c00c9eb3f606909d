"""Reads a streamed answer, events or a list in their place, into `chat.completion.chunk` objects.

The answer is complete with the finish reason of every candidate, or a blocked prompt. Google sends no other end mark,
and some models send STOP in every piece, so what follows a finish reason still counts.
"""

import re
from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.gemini.candidates import GeminiCandidate, extra_content, openai_logprobs
from services.provider_worker.adapters.gemini.envelope import ResponseEnvelope, block_reason
from services.provider_worker.adapters.gemini.errors import failure_of_error, find_error
from services.provider_worker.adapters.gemini.json_array import ArrayParser
from services.provider_worker.adapters.gemini.response import build_blocked_choice, failure_of_body
from services.provider_worker.adapters.gemini.usage import NO_USAGE, gemini_tally
from services.provider_worker.adapters.response.body import BodyBuffer
from services.provider_worker.adapters.response.errors import (
    EMPTY_RESPONSE,
    EVENT_NOT_AN_OBJECT,
    EVENT_TOO_DEEP,
    TRUNCATED_EVENT,
    invalid_response,
    make_failure,
    truncated_stream,
)
from services.provider_worker.adapters.response.json_text import (
    JsonObject,
    as_objects,
    parse_first_object,
    parse_object,
    render,
)
from services.provider_worker.adapters.response.sse import BEFORE_BODY, EventParser

MAX_PIECE_BYTES = 16 * 1024 * 1024
"""Largest piece of a stream: an image is sent in one, as base64."""

_MAX_CANDIDATES = 128
"""More indices than OpenAI's largest `n` are a defect, not an answer."""

_MAX_TAIL_BYTES = 16 * 1024
_BARE_ERROR = re.compile(rb'(?:^|[\r\n])[\s\[]*(\{\s*"error".*)', re.DOTALL)
"""An error that Google writes into an event stream without framing it as an event; its SDK looks for the same."""


_DONE_LINE = re.compile(rb"(?:\A|[\r\n])data: ?\[DONE\]")
"""Nothing after this line is read, however the body is cut."""


class StreamReader:
    """Reads one stream. A piece without output makes no chunk, so a failure before the first token delivers nothing."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self._chunks = ChunkBuilder(run, headers)
        self._events = EventParser(MAX_PIECE_BYTES)
        self._array: ArrayParser | None = None
        self._document: BodyBuffer | None = None
        self._started = False
        self._done = False
        self._tail = b""

    @property
    def over(self) -> bool:
        """Whether the provider has reported an error, or reading on is pointless for another reason."""
        too_large = self._document is not None and self._document.too_large
        return self._done or self._chunks.failure is not None or too_large

    def feed(self, data: bytes) -> list[bytes]:
        """Return the chunks that `data` completes, one JSON text each."""
        if not self._started:
            self._start(data)
        if self.over:
            return []
        if self._document is not None:
            self._document.add(data)
            return []
        chunks: list[bytes] = []
        for piece in self._array.feed(data) if self._array is not None else self._read_events(data):
            if piece.startswith(b"[DONE]"):
                self._done = True
                self._tail = _DONE_LINE.split(self._tail, maxsplit=1)[0]
            elif piece.strip():
                chunks += self._chunks.read(piece)
            if self.over:
                return chunks
        if self._events.overflow or (self._array is not None and self._array.overflow):
            self._fail(FailureClass.SERVER, "The provider sent a stream event larger than 16 MiB.")
        elif self._array is not None and self._array.closed:
            self._done = True
        return chunks

    def close(self) -> Answer:
        """Return the stream's result. Without its end it is `truncated`."""
        if self._document is not None:
            return Answer(failure=failure_of_body(self._document.content.strip()))
        late = [] if self.over or self._array is not None else self._read_last()
        builder = self._chunks
        failure = builder.failure or self._missing_end()
        usage = builder.usage.usage() or NO_USAGE
        return Answer(
            failure=failure,
            finish_reason=builder.finish_reason,
            model_served=builder.envelope.model_served,
            service_tier=usage.service_tier,
            usage=usage.report,
            late=() if failure is not None else tuple(late),
        )

    def _read_last(self) -> list[bytes]:
        """Return the chunks of an event without its blank line: complete JSON is an event, anything less was cut off."""
        late: list[bytes] = []
        for _, event in self._events.finish():
            if parse_object(event) is not None:
                late += self._chunks.read(event)
            elif not self._chunks.finished and not event.startswith(b"[DONE]"):
                self._fail(FailureClass.TRUNCATED, TRUNCATED_EVENT)
        return late

    def _start(self, data: bytes) -> None:
        first = data.lstrip(BEFORE_BODY)[:1]
        if first:
            self._started = True
            if first in b"{[":
                self._array = ArrayParser(MAX_PIECE_BYTES)
            elif first == b"<":
                self._document = BodyBuffer()

    def _read_events(self, data: bytes) -> list[bytes]:
        self._tail = self._tail[-_MAX_TAIL_BYTES:] + data
        return [event for _, event in self._events.feed(data)]

    def _missing_end(self) -> Failure | None:
        if self._chunks.finished:
            return None
        bare = _BARE_ERROR.search(self._tail[-_MAX_TAIL_BYTES:])
        error = find_error(parse_first_object(bare[1])) if bare else None
        if error is not None:
            return failure_of_error(error, Where.MID_STREAM)
        if self._done and not self._chunks.has_output:
            return invalid_response(EMPTY_RESPONSE)
        return truncated_stream()

    def _fail(self, failure_class: FailureClass, message: str) -> None:
        self._chunks.failure = make_failure(failure_class, message, Where.MID_STREAM)


class ChunkBuilder:
    """Builds chunks from GenerateContentResponses. `failure` is final once a provider reports or causes one."""

    def __init__(self, run: AttemptRun, headers: Mapping[str, str]) -> None:
        self.failure: Failure | None = None
        self.usage = gemini_tally()
        """Every piece repeats the `usageMetadata` and it grows."""
        self.envelope = ResponseEnvelope(run, headers)
        self.where = Where.HTTP_200_BODY
        """Where an error happens now: before the first chunk it is one inside a 200, not a broken answer."""
        self._include_usage = run.include_usage
        self._call_id_prefix = f"call_{run.attempt_id}"
        self._candidates: dict[int, GeminiCandidate] = {}
        self._finished: dict[int, str] = {}
        """Index -> the finish reason that the caller has received."""
        self._usage_sent: JsonObject | None = None

    @property
    def finished(self) -> bool:
        """Whether every candidate has its finish reason."""
        return bool(self._finished) and self._finished.keys() >= self._candidates.keys()

    @property
    def has_output(self) -> bool:
        """Whether any output has arrived."""
        return any(candidate.has_output for candidate in self._candidates.values())

    @property
    def finish_reason(self) -> str | None:
        """The finish reason of the first candidate."""
        return self._finished[min(self._finished)] if self._finished else None

    def read(self, data: bytes) -> list[bytes]:
        """Return the chunks for one piece of the stream."""
        document = parse_object(data)
        error = find_error(parse_first_object(data) if document is None else document)
        if error is not None:
            self.failure = failure_of_error(error, self.where)
        elif document is None:
            self._fail(EVENT_NOT_AN_OBJECT)
        if document is None or self.failure is not None:
            return []
        self.envelope.read(document)
        self.usage.take(document.get("usageMetadata") or None)
        try:
            chunks = [
                render(self._build_chunk([choice])) for choice in self._choices(document)
            ] + self._build_usage_chunk()
        except ValueError:
            self._fail(EVENT_TOO_DEEP)
            return []
        if chunks:
            self.where = Where.MID_STREAM
        return chunks

    def _choices(self, document: JsonObject) -> list[JsonObject]:
        candidates = as_objects(document.get("candidates"))
        reason = block_reason(document)
        if not candidates and reason is not None and not self._finished:
            self._finished[0] = "content_filter"
            return [build_blocked_choice("delta", {} if self._candidates else {"role": "assistant"}, reason)]
        return [choice for candidate in candidates for choice in self._build_candidate_choices(candidate)]

    def _build_candidate_choices(self, candidate: JsonObject) -> list[JsonObject]:
        """Return a choice with what the piece adds, if anything, and one with the finish reason, if it is new."""
        index = candidate.get("index")
        index = index if isinstance(index, int) and not isinstance(index, bool) else 0
        state = self._candidates.get(index)
        if state is None:
            if len(self._candidates) >= _MAX_CANDIDATES:
                self._fail("The provider sent more candidates than can be requested.")
                return []
            prefix = f"{self._call_id_prefix}_{index}" if index else self._call_id_prefix
            state = self._candidates[index] = GeminiCandidate(prefix)
        first = not state.has_output and index not in self._finished
        delta = state.delta(candidate)
        choices: list[JsonObject] = []
        if delta:
            logprobs = openai_logprobs(candidate)
            full_delta: JsonObject = {"role": "assistant"} | delta if first else delta
            choices.append({"index": index, "delta": full_delta, "logprobs": logprobs, "finish_reason": None})
        reason = state.finish_reason
        if reason is not None and self._finished.get(index) != reason:
            self._finished[index] = reason
            opening: JsonObject = {"role": "assistant"} if first and not delta else {}
            ending: JsonObject = {"index": index, "delta": opening, "logprobs": None, "finish_reason": reason}
            choices.append(ending | {"native_finish_reason": state.finish_word} | extra_content(candidate))
        return choices

    def _build_usage_chunk(self) -> list[bytes]:
        usage = self.usage.usage() if self._include_usage and self.finished else None
        if usage is None or usage.openai is None or usage.openai == self._usage_sent:
            return []
        self._usage_sent = usage.openai
        return [render(self._build_chunk([]) | {"usage": usage.openai})]

    def _build_chunk(self, choices: list[JsonObject]) -> JsonObject:
        chunk = self.envelope.around("chat.completion.chunk") | {"choices": choices}
        return chunk | {"usage": None} if self._include_usage else chunk

    def _fail(self, message: str) -> None:
        self.failure = make_failure(FailureClass.SERVER, message, Where.MID_STREAM)
