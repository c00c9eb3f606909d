"""Calls the built-in echo provider: no network, the same delivery."""

import asyncio
import time

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.echo import EchoAnswer, echo_request
from services.provider_worker.body_defaults import adapt_with_defaults
from services.provider_worker.provider_call import Phase, Progress


class EchoProvider:
    """Answers with the caller's own words."""

    def prepare(self, run: AttemptRun, body: bytes) -> "EchoCall":
        """Prepare the answer to the caller's body. Raises RefusedByAdapter."""
        adapted = adapt_with_defaults(run, body, lambda document: echo_request(run, document, int(time.time())))
        return EchoCall(adapted.result, stream=run.stream, added=adapted.added)


class EchoCall:
    """One echo, streamed word by word when a stream was asked for."""

    dropped: tuple[str, ...] = ()
    origin: str | None = None

    def __init__(self, echoed: EchoAnswer, *, stream: bool, added: tuple[str, ...] = ()) -> None:
        self.added = added
        self.answer = Answer()
        self._echoed = echoed
        self._stream = stream

    async def make(self, progress: Progress) -> None:
        """Deliver the echo."""
        progress.enter(Phase.SENDING)
        if self._stream:
            for text in self._echoed.chunks():
                await progress.deliver([text])
                await asyncio.sleep(0)  # a long echo must not keep others waiting, and can be cancelled
        self.answer = self._echoed.answer
