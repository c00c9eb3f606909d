"""One chat request over the bus, and its answer as text."""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from keyferry.cli.completion_text import CompletionText
from keyferry.cli.connection import OperatorConnection
from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.frames import Accepted
from keyferry.contracts.request_features import read_chat_features
from keyferry.runtime.request.assembly import CallFailed
from keyferry.runtime.request.call import Call

_DEADLINE_MS = 120_000
_SAMPLED = "01"


@dataclass(slots=True)
class ChatResult:
    """How a chat request ended. `failure` is None if the answer is complete."""

    request_id: str
    answer: CompletionText = field(default_factory=CompletionText)
    accepted: Accepted | None = None
    failure: CallFailed | None = None

    @property
    def attempts(self) -> int:
        """How many attempts the ledger will record."""
        return self.accepted.attempt_number if self.accepted else 0


def build_request(
    tenant: str,
    model: str,
    body: bytes,
    *,
    stream: bool,
    tags: dict[str, str] | None = None,
    power_level: PowerLevel | None = None,
) -> ChatRequest:
    """Return the head of a new request for this body, with its own trace."""
    return ChatRequest(
        request_id=ids.new(ids.REQUEST),
        tenant=tenant,
        model=model,
        stream=stream,
        tags=tags or {},
        power_level=power_level,
        features=read_chat_features(json.loads(body), len(body)),
        deadline_ms=_DEADLINE_MS,
        start_by_unix_ms=0,  # set when it is sent
        traceparent=f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{_SAMPLED}",
    )


def build_body(text: str, model: str, *, stream: bool) -> bytes:
    """Return an OpenAI chat completion body with one user message."""
    return json.dumps({"model": model, "messages": [{"role": "user", "content": text}], "stream": stream}).encode()


async def send_chat(
    operator: OperatorConnection, head: ChatRequest, body: bytes, on_text: Callable[[str], None]
) -> ChatResult:
    """Send a request and pass each new piece of text to `on_text`. A failure is part of the result.

    Leaving early, for example on Ctrl-C, cancels the request.
    """
    result = ChatResult(head.request_id)
    call = (await operator.open_caller()).call(head, body)
    try:
        await call.start()
        await _receive(call, result, head.stream, on_text)
    except CallFailed as error:
        result.failure = error
    finally:
        result.accepted = call.accepted
        await call.cancel()
    return result


async def _receive(call: Call, result: ChatResult, stream: bool, on_text: Callable[[str], None]) -> None:
    whole = bytearray()
    while True:
        piece = await call.next_piece()
        assert piece is not None, "without a timeout it returns a piece or raises"
        if not stream:
            whole += piece.payload
        else:
            for line in filter(None, piece.payload.split(b"\n")):
                on_text(result.answer.add(line))
        if piece.last:
            break
    if not stream:
        on_text(result.answer.add(bytes(whole), "completion"))
