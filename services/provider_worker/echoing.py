"""Calls the built-in echo provider: no network, the same way of delivery."""

import asyncio
import time

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Answer
from services.provider_worker.adapters.echo import echo_request
from services.provider_worker.attempt import Prepared, Progress


def echo_provider(run: AttemptRun, body: bytes) -> Prepared:
    """The answer to the caller's body; streamed word by word when a stream was asked for. Raises RefusedByAdapter."""
    echoed = echo_request(run, body, int(time.time()))

    async def call(progress: Progress) -> Answer:
        if run.stream:
            for text in echoed.chunks():
                await progress.deliver([text])
                await asyncio.sleep(0)  # a long echo must not keep others waiting, and can be cancelled
        return echoed.answer

    return Prepared(call)
