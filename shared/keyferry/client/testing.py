"""A fake for tests of programs that use `keyferry.client`: the same client, with scripted answers in place of the bus.

    fake = FakeKeyferry(tenant="acme", models=["gpt"])
    fake.reply("Hello, ", "world")
    answer = await program_under_test(fake)
    assert fake.requests[0].operation == "greeting"

Requests that are not scripted are echoed, like the built-in model `echo` does; embeddings must be scripted, because `echo` has
none. The fake does not wait between retries but records how long a real client would have waited. The tests of this package run
the same scenarios against the fake and a real system.
"""

import asyncio
import base64
import struct
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson

from keyferry.client.client import DEFAULT_MAX_RETRIES, Client
from keyferry.client.errors import BadRequest
from keyferry.client.parsing import parse_object
from keyferry.client.results import JsonObject
from keyferry.client.retrying_call import PendingCall
from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest, EmbeddingRequest
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.feedback import Feedback, SaveFeedback
from keyferry.contracts.frames import Accepted
from keyferry.contracts.route import Model, Models
from keyferry.contracts.usage import KeySource, RequestKind
from keyferry.runtime.request.assembly import CallFailed, Piece
from keyferry.runtime.request.call import CallAbandoned

ECHO = "echo"
CUSTOM = "custom"
ENDPOINT = "fake"
"""The tenant's own endpoint that serves all other models."""


@dataclass(frozen=True, slots=True)
class ReplyDelta:
    """A step of a reply: one delta of text, reasoning or a tool call."""

    text: str = ""
    reasoning: str = ""
    tool_call_id: str = ""
    tool_name: str = ""
    tool_arguments: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the delta of a `chat.completion.chunk`."""
        delta: dict[str, object] = {}
        if self.text:
            delta["content"] = self.text
        if self.reasoning:
            delta["reasoning_content"] = self.reasoning
        if self.tool_name or self.tool_arguments:
            function = {"name": self.tool_name or None, "arguments": self.tool_arguments}
            delta["tool_calls"] = [{"index": 0, "id": self.tool_call_id or None, "function": function}]
        return delta


Step = str | ReplyDelta | asyncio.Event | Failure
"""A text (one delta), any other delta, an event to wait for, or the failure that ends the reply."""


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """The reply to one request: its steps in order, then the end of a complete answer, unless a failure ends it."""

    steps: tuple[Step, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    vectors: tuple[tuple[float, ...], ...] = ()
    """The reply to an embeddings request, unless a step fails."""

    @property
    def refusal(self) -> Failure | None:
        """A failure of the gateway in the first step, if there is one: then no worker accepts the request."""
        first = self.steps[0] if self.steps else None
        return first if isinstance(first, Failure) and first.where is Where.GATEWAY else None


@dataclass(slots=True)
class RecordedRequest:
    """A request that was made. Each retry is recorded as a request of its own."""

    head: ChatRequest | EmbeddingRequest
    body: JsonObject
    cancelled: bool = False
    """Whether it was given up before its answer was complete."""

    @property
    def model(self) -> str:
        """The requested model."""
        return self.head.model

    @property
    def operation(self) -> str | None:
        """The operation of the request."""
        return self.head.operation


def failure(
    kind: FailureClass,
    message: str = "as scripted",
    *,
    where: Where = Where.HTTP_STATUS,
    retry_after_seconds: float | None = None,
    status: int | None = None,
) -> Failure:
    """Return a failure as a step of a reply.

    As the first step with `where=Where.GATEWAY`, no worker accepts the request.
    """
    delay_ms = None if retry_after_seconds is None else round(retry_after_seconds * 1000)
    return Failure(failure_class=kind, message=message, where=where, status=status, retry_after_ms=delay_ms)


class FakeKeyferry(Client):
    """A client whose answers are scripted. Use it directly or in an `async with` block."""

    def __init__(
        self, *, tenant: str = "test", models: Sequence[str] = (), max_retries: int = DEFAULT_MAX_RETRIES
    ) -> None:
        self._bus = _ScriptedTransport([ECHO, *models])
        self.waited_seconds: list[float] = []
        """How long a real client would have waited before each retry."""
        super().__init__(self._bus, tenant=tenant, max_retries=max_retries, sleep=self._record_wait)

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, including retries."""
        return self._bus.requests

    @property
    def ratings(self) -> list[SaveFeedback]:
        """The ratings that count, in the order in which they were given."""
        return self._bus.ratings

    async def wait_for_requests(self, count: int = 1) -> None:
        """Wait until `count` requests have been made, including retries."""
        while len(self.requests) < count:
            self._bus.called.clear()
            await self._bus.called.wait()

    def reply(self, *steps: Step, prompt_tokens: int = 0, completion_tokens: int = 0) -> None:
        """Script the reply to the next request without one. Retries are requests of their own."""
        self._bus.replies.append(ScriptedReply(steps, prompt_tokens, completion_tokens))

    def reply_embeddings(self, *vectors: Sequence[float], prompt_tokens: int = 0) -> None:
        """Script the reply to the next request without one, which must ask for as many embeddings."""
        self._bus.replies.append(ScriptedReply((), prompt_tokens, vectors=tuple(tuple(vector) for vector in vectors)))

    async def _record_wait(self, seconds: float) -> None:
        self.waited_seconds.append(seconds)
        await asyncio.sleep(0)


@dataclass(slots=True)
class _ScriptedTransport:
    names: list[str]
    requests: list[RecordedRequest] = field(default_factory=list)
    replies: deque[ScriptedReply] = field(default_factory=deque)
    ratings: list[SaveFeedback] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    def call(self, head: ChatRequest | EmbeddingRequest, body: bytes) -> PendingCall:
        recorded = RecordedRequest(head, parse_object(body))
        return _ScriptedCall(recorded, self._reply_to(recorded))

    def _reply_to(self, recorded: RecordedRequest) -> ScriptedReply:
        self.requests.append(recorded)
        self.called.set()
        if recorded.model not in self.names:
            available = ", ".join(self.names)
            message = f"the model {recorded.model!r} is not offered to this tenant; it offers: {available}"
            return ScriptedReply((failure(FailureClass.NOT_FOUND, message, where=Where.GATEWAY),))
        if self.replies:
            return self.replies.popleft()
        return _NO_EMBEDDINGS if _is_embedding(recorded) else _echo(recorded.body)

    async def models(self, tenant: str) -> Models:
        echo = Model(id=ECHO, provider=ECHO, key_source=KeySource.NONE)
        others = [
            Model(id=name, provider=CUSTOM, endpoint=ENDPOINT, key_source=KeySource.CUSTOM) for name in self.names[1:]
        ]
        return Models(models=[echo, *others])

    async def rate(self, command: SaveFeedback) -> Feedback:
        rated = next((each for each in self.requests if each.head.request_id == command.request_id), None)
        if rated is None or rated.cancelled:
            message = f"there is no answer to a request {command.request_id} of {command.tenant}"
            raise BadRequest(failure(FailureClass.BAD_REQUEST, message, where=Where.GATEWAY))
        earlier = [each for each in self.ratings if _rated_alike(each, command)]
        self.ratings = [each for each in self.ratings if each not in earlier] + [command]
        echo = rated.model == ECHO
        return Feedback(
            **command.model_dump(exclude={"operation"}),
            operation=rated.operation or command.operation,
            provider=ECHO if echo else CUSTOM,
            model=rated.model,
            rated_at=datetime.now(UTC),
            replaced=bool(earlier),
        )

    async def close(self) -> None:
        """Do nothing: there is no connection."""


class _ScriptedCall:
    """One attempt. A reply is one piece, unless a stream was requested."""

    def __init__(self, recorded: RecordedRequest, reply: ScriptedReply) -> None:
        self.accepted: Accepted | None = None
        self._recorded = recorded
        self._reply = reply
        self._steps = deque(reply.steps)
        self._deltas: list[ReplyDelta] = []
        self._decision_id = ids.new(ids.DECISION)
        self._give_up_at = time.monotonic() + recorded.head.deadline_ms / 1000
        self._abandoned = asyncio.Event()
        self._ended = False

    async def start(self) -> None:
        if self._reply.refusal is None:
            self.accepted = _accept(self._recorded.head, self._decision_id)

    async def next_piece(self) -> Piece | None:
        while self._steps:
            if self._abandoned.is_set():
                raise CallAbandoned
            delta = await self._take(self._steps.popleft())
            if delta is not None and self._recorded.head.stream:
                return Piece(self._chunk({"delta": delta.to_json()}), last=False)
        self._ended = True
        if _is_embedding(self._recorded):
            return Piece(self._embeddings(), last=True)
        return Piece(self._end_of_stream() if self._recorded.head.stream else self._completion(), last=True)

    async def cancel(self) -> None:
        self._recorded.cancelled = self._recorded.cancelled or not self._ended
        self._ended = True
        self._abandoned.set()

    def abandon(self) -> None:
        self._abandoned.set()

    async def _take(self, step: Step) -> ReplyDelta | None:
        if isinstance(step, Failure):
            self._ended = True
            raise CallFailed(step, decision_id=self._decision_id)
        if isinstance(step, asyncio.Event):
            await self._wait_for(step)
            return None
        delta = ReplyDelta(step) if isinstance(step, str) else step
        self._deltas.append(delta)
        return delta

    async def _wait_for(self, event: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self._abandoned)]
        try:
            left = self._give_up_at - time.monotonic()
            done, _ = await asyncio.wait(waits, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._abandoned.is_set():
            raise CallAbandoned
        if not done:
            await self.cancel()
            detail = "the request's deadline passed before the answer was complete"
            raise CallFailed(Failure(failure_class=FailureClass.EXPIRED, message=detail))

    # --- encoding

    def _chunk(self, choice: dict[str, object] | None, **more: object) -> bytes:
        choices = [] if choice is None else [{"index": 0, "finish_reason": None, **choice}]
        return orjson.dumps({**self._envelope("chat.completion.chunk"), "choices": choices, **more})

    def _end_of_stream(self) -> bytes:
        finish = self._chunk({"delta": {}, "finish_reason": self._finish_reason})
        return finish + b"\n" + self._chunk(None, usage=self._usage)

    def _completion(self) -> bytes:
        message: dict[str, object] = {
            "role": "assistant",
            "content": "".join(delta.text for delta in self._deltas) or None,
        }
        if reasoning := "".join(delta.reasoning for delta in self._deltas):
            message["reasoning_content"] = reasoning
        if calls := _tool_calls(self._deltas):
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        return orjson.dumps({**self._envelope("chat.completion"), "choices": [choice], "usage": self._usage})

    def _embeddings(self) -> bytes:
        rows = [
            {"object": "embedding", "index": index, "embedding": _encode_vector(vector)}
            for index, vector in enumerate(self._reply.vectors)
        ]
        usage = {"prompt_tokens": self._reply.prompt_tokens, "total_tokens": self._reply.prompt_tokens}
        return orjson.dumps({"object": "list", "data": rows, "model": self._recorded.model, "usage": usage})

    def _envelope(self, kind: str) -> dict[str, object]:
        return {"id": f"chatcmpl-{self._recorded.head.request_id}", "object": kind, "created": 0} | {
            "model": self._recorded.model
        }

    @property
    def _finish_reason(self) -> str:
        return "tool_calls" if _tool_calls(self._deltas) else "stop"

    @property
    def _usage(self) -> dict[str, int]:
        prompt, completion = self._reply.prompt_tokens, self._reply.completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


_NO_EMBEDDINGS = ScriptedReply(
    (
        Failure(
            failure_class=FailureClass.BAD_REQUEST,
            message="The echo provider has no embeddings; choose a model that has, and script it with `reply_embeddings`.",
            where=Where.NOT_SENT,
            status=400,
            param="model",
        ),
    )
)


def _is_embedding(recorded: RecordedRequest) -> bool:
    return recorded.head.kind is RequestKind.EMBEDDING


def _encode_vector(vector: Sequence[float]) -> str:
    """Encode a vector as OpenAI's base64: little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _rated_alike(one: SaveFeedback, other: SaveFeedback) -> bool:
    return (one.request_id, one.rater) == (other.request_id, other.rater)


def _tool_calls(deltas: Iterable[ReplyDelta]) -> list[dict[str, object]]:
    """Assemble the one tool call that a reply can make from its pieces."""
    pieces = [delta for delta in deltas if delta.tool_name or delta.tool_arguments]
    if not pieces:
        return []
    name = next((delta.tool_name for delta in pieces if delta.tool_name), "")
    call_id = next((delta.tool_call_id for delta in pieces if delta.tool_call_id), "")
    arguments = "".join(delta.tool_arguments for delta in pieces)
    return [{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]


def _accept(head: ChatRequest | EmbeddingRequest, decision_id: str) -> Accepted:
    echo = head.model == ECHO
    return Accepted(
        attempt_id=ids.new(ids.ATTEMPT),
        instance_id=ids.new(ids.INSTANCE),
        attempt_number=1,
        decision_id=decision_id,
        provider=ECHO if echo else CUSTOM,
        endpoint=None if echo else ENDPOINT,
        model=head.model,
        key_source=KeySource.NONE if echo else KeySource.CUSTOM,
        power_level=head.power_level,
    )


def _echo(body: JsonObject) -> ScriptedReply:
    """Return the text of the last user message, one word per delta and token."""
    messages = body["messages"]
    assert isinstance(messages, list), "the client has checked it"
    texts = [
        content
        for message in messages
        if isinstance(message, dict)
        and message.get("role") == "user"
        and isinstance(content := message["content"], str)
    ]
    words = texts[-1].split(" ") if texts else [""]
    pieces = [word if at == 0 else f" {word}" for at, word in enumerate(words)]
    return ScriptedReply(tuple(pieces), prompt_tokens=len(words), completion_tokens=len(words))
