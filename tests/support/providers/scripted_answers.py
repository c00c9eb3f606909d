"""A provider whose every answer is known beforehand: the prompt says which words to send, how many and how fast.

So a test can distinguish a complete answer from one with a gap, and match calls in the provider's log to clients.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.support.providers.upstream import Call, ProviderRequest, Reply, Upstream, completion, failing, stream_of


@dataclass(frozen=True)
class Script:
    """What a prompt requests. The answer's words are `<name>-0 <name>-1 …`, each followed by padding and a space."""

    name: str
    word_count: int
    pause_seconds: float = 0.0
    """Before each piece of a stream, and before a whole answer."""
    padding: int = 0
    """Letters added to each word."""

    @property
    def prompt(self) -> str:
        return json.dumps(asdict(self))

    @property
    def pieces(self) -> list[str]:
        return [f"{self.name}-{number}{'x' * self.padding} " for number in range(self.word_count)]

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


def script_of(body: dict[str, Any]) -> Script:
    """Return the script in a request's prompt."""
    return Script(**json.loads(body["messages"][-1]["content"]))


def is_script(body: dict[str, Any]) -> bool:
    """Return whether a request's prompt is a script."""
    return str(body["messages"][-1]["content"]).startswith('{"name"')


def by_script(request: ProviderRequest) -> Reply:
    """Answer as the prompt says; a probe of the address, which has no prompt, gets 404, since there is nothing else."""
    if "messages" not in request.body:
        return failing(404, {"message": "there are chats only"})
    script = script_of(request.body)

    async def pause() -> None:
        await asyncio.sleep(script.pause_seconds)

    if request.body.get("stream"):
        return stream_of(script.pieces, pause=pause if script.pause_seconds else None)
    reply = completion(script.text, request.body["model"])
    return Reply(reply.status, reply.headers, reply.pieces, before=pause)


def calls_of(upstream: Upstream, name: str) -> list[Call]:
    """Return the calls in the provider's log whose script has this name."""
    return [call for call in chat_calls(upstream.calls) if script_of(call.request.body).name == name]


def chat_calls(calls: Sequence[Call]) -> list[Call]:
    """Return the calls that are about a chat: an address that nobody calls for minutes is also probed."""
    return [call for call in list(calls) if "messages" in call.request.body]
