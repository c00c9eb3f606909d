"""Calls the built-in echo provider: no network, the same delivery."""

import asyncio
import time

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.echo import EchoAnswer, echo_request
from services.provider_worker.provider_call import Phase, Progress


class EchoProvider:
    """Answers with the caller's own words."""

    def prepare(self, run: AttemptRun, body: bytes) -> "EchoCall":
        """Prepare the answer to the caller's body. Raises RefusedByAdapter."""
        return EchoCall(echo_request(run, body, int(time.time())), stream=run.stream)


class EchoCall:
    """One echo, streamed word by word when a stream was asked for."""

    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    origin: str | None = None

    def __init__(self, echoed: EchoAnswer, *, stream: bool) -> None:
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
