"""Calls a provider over HTTP through its adapter."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Adapter, Answer, UpstreamRequest
from services.provider_worker.attempt import Prepared, Progress, Provider
from services.provider_worker.keys.leasing import NoKey
from services.provider_worker.upstream.attaching import METHOD, attached, origin_of
from services.provider_worker.upstream.client import Timeouts, UpstreamClient

Lease = Callable[[AttemptRun, str], Awaitable[LeasedKey]]
"""Gets the key of an attempt for a request to an origin. Raises NoKey."""


async def no_keys(run: AttemptRun, origin: str) -> LeasedKey:
    """A worker that the vault does not know. Raises NoKey."""
    raise NoKey(
        "this worker has no identity with the key vault; its operator can set KEYFERRY_IDENTITY_KEY_FILE and"
        " KEYFERRY_VAULT_PUBLIC_KEY_FILE"
    )


def http_provider(adapter: Adapter, client: UpstreamClient, timeouts: Timeouts, lease: Lease = no_keys) -> Provider:
    """A provider behind HTTP. The key of an attempt is leased within the attempt's deadline, just before it is used."""

    def prepare(run: AttemptRun, body: bytes) -> Prepared:
        request = adapter.request(run, body)

        async def call(progress: Progress) -> Answer:
            headers = await _with_key(run, request, lease, progress)
            async with client.stream(METHOD, request.url, headers, request.content, timeouts) as response:
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
                answer = progress.answer = reader.close()
                await progress.deliver(list(answer.late))
                return answer

        return Prepared(call, request.dropped)

    return prepare


async def _with_key(run: AttemptRun, request: UpstreamRequest, lease: Lease, progress: Progress) -> Mapping[str, str]:
    """The headers to send. Raises NoKey, and NotAttached where the key does not belong to where the request goes."""
    if run.key_id is None:
        return request.headers
    progress.waits_for_key = True
    try:
        key = await lease(run, origin_of(request.url))
    except NoKey:
        progress.no_key = True
        raise
    progress.waits_for_key = False
    return attached(request, key, datetime.now(UTC))


def providers(
    adapters: Mapping[str, Adapter], client: UpstreamClient, timeouts: Timeouts, lease: Lease = no_keys
) -> dict[str, Provider]:
    """Every provider that is reached over HTTP, by name."""
    return {name: http_provider(adapter, client, timeouts, lease) for name, adapter in adapters.items()}
