"""One chat request over the bus and its answer as text."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from keyferry.cli.completion_text import CompletionText
from keyferry.cli.connection import OperatorConnection
from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.frames import Accepted
from keyferry.runtime.request.calls import Call, CallFailed

_DEADLINE_MS = 120_000
_SAMPLED = "01"


@dataclass(slots=True)
class ChatResult:
    """How the exchange ended. `failure` is None for a whole answer."""

    request_id: str
    answer: CompletionText = field(default_factory=CompletionText)
    accepted: Accepted | None = None
    failure: CallFailed | None = None

    @property
    def attempts(self) -> int:
        """How many attempts the ledger will know of."""
        return self.accepted.attempt_number if self.accepted else 0


def request(tenant: str, model: str, *, stream: bool, tags: dict[str, str] | None = None) -> ChatRequest:
    """The head of a new request with a trace of its own."""
    return ChatRequest(
        request_id=ids.new(ids.REQUEST),
        tenant=tenant,
        model=model,
        stream=stream,
        tags=tags or {},
        deadline_ms=_DEADLINE_MS,
        start_by_unix_ms=0,  # set when it is sent
        traceparent=f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{_SAMPLED}",
    )


def body(text: str, model: str, *, stream: bool) -> bytes:
    """An OpenAI chat completion body of one user message."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()


async def exchange(
    operator: OperatorConnection, head: ChatRequest, payload: bytes, on_text: Callable[[str], None]
) -> ChatResult:
    """Send it and hand each new piece of text to `on_text`. A failure is told in what is returned.

    Leaving early, as on Ctrl-C, tells the worker to stop.
    """
    chat_result = ChatResult(head.request_id)
    call = (await operator.caller()).call(head, payload)
    try:
        await call.start()
        await _receive(call, chat_result, head.stream, on_text)
    except CallFailed as error:
        chat_result.failure = error
    finally:
        chat_result.accepted = call.accepted
        await call.cancel()
    return chat_result


async def _receive(call: Call, chat_result: ChatResult, stream: bool, on_text: Callable[[str], None]) -> None:
    whole = bytearray()
    while True:
        piece = await call.next_piece()
        assert piece is not None, "without a limit to its patience it waits for a piece or raises"
        if not stream:
            whole += piece.payload
        else:
            for line in filter(None, piece.payload.split(b"\n")):
                on_text(chat_result.answer.take(line))
        if piece.last:
            break
    if not stream:
        on_text(chat_result.answer.take(bytes(whole), "completion"))
