"""Calls a provider over HTTP through its adapter."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from services.provider_worker.adapters.adapter import Adapter, Answer
from services.provider_worker.attempt import Prepared, Progress, Provider
from services.provider_worker.upstream.client import Timeouts, UpstreamClient


def http_provider(adapter: Adapter, client: UpstreamClient, timeouts: Timeouts) -> Provider:
    """A provider behind HTTP."""

    def prepare(run: AttemptRun, body: bytes) -> Prepared:
        request = adapter.request(run, body)

        async def call(progress: Progress) -> Answer:
            async with client.stream("POST", request.url, request.headers, request.content, timeouts) as response:
                progress.origin = response.origin
                reader = adapter.reader(run, request, response.status, response.headers)
                try:
                    async for data in response.aiter_raw():
                        await progress.deliver(reader.feed(data))
                        if reader.over:
                            break
                except BaseException:
                    # Cancelled, out of time or broken off: what was reported until then is still accounted for.
                    progress.answer = reader.close()
                    raise
                return reader.close()

        return Prepared(call, request.dropped)

    return prepare


def providers(adapters: Mapping[str, Adapter], client: UpstreamClient, timeouts: Timeouts) -> dict[str, Provider]:
    """Every provider that is reached over HTTP, by name."""
    return {name: http_provider(adapter, client, timeouts) for name, adapter in adapters.items()}
