"""Calls providers over HTTP through their adapters."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Adapter, Answer, UpstreamRequest
from services.provider_worker.keys.lease_client import KeyUnavailable
from services.provider_worker.provider_call import Phase, Progress
from services.provider_worker.upstream.attach_key import METHOD, attach_key, origin_of
from services.provider_worker.upstream.client import Timeouts, UpstreamClient

Lease = Callable[[AttemptRun, str], Awaitable[LeasedKey]]
"""Gets the key of an attempt for a request to an origin. Raises KeyUnavailable."""


async def refuse_lease(run: AttemptRun, origin: str) -> LeasedKey:
    """Refuse every lease, for a worker that is not enrolled with the vault. Raises KeyUnavailable."""
    raise KeyUnavailable(
        "this worker has no identity with the key vault; its operator can set KEYFERRY_IDENTITY_KEY_FILE and"
        " KEYFERRY_VAULT_PUBLIC_KEY_FILE"
    )


@dataclass(frozen=True, slots=True)
class HttpProvider:
    """A provider behind HTTP."""

    adapter: Adapter
    client: UpstreamClient
    timeouts: Timeouts
    lease: Lease = refuse_lease

    def prepare(self, run: AttemptRun, body: bytes) -> "HttpCall":
        """Translate the caller's body into the provider's request. Raises RefusedByAdapter."""
        return HttpCall(self, run, self.adapter.request(run, body))


class HttpCall:
    """One request to a provider. The key is leased within the attempt's deadline, just before it is used."""

    def __init__(self, provider: HttpProvider, run: AttemptRun, request: UpstreamRequest) -> None:
        self.answer = Answer()
        self.origin: str | None = None
        self._provider = provider
        self._run = run
        self._request = request

    @property
    def dropped(self) -> tuple[str, ...]:
        """Fields of the caller's body that the request leaves out."""
        return self._request.dropped

    async def make(self, progress: Progress) -> None:
        """Send the request and deliver what comes back. Raises RefusedByAdapter and UpstreamError."""
        provider, request = self._provider, self._request
        headers = await self._headers_with_key(progress)
        progress.enter(Phase.SENDING)
        async with provider.client.stream(METHOD, request.url, headers, request.content, provider.timeouts) as response:
            self.origin = response.origin
            reader = provider.adapter.reader(self._run, request, response.status, response.headers)
            try:
                async for data in response.aiter_raw():
                    await progress.deliver(reader.feed(data))
                    if reader.over:
                        break
            finally:
                # Also when cancelled, out of time or broken off: what was reported until then is still accounted for.
                self.answer = reader.close()
            await progress.deliver(list(self.answer.late))

    async def _headers_with_key(self, progress: Progress) -> Mapping[str, str]:
        """Return the headers to send. Raises KeyUnavailable, and NotAttached for a key of another origin."""
        if self._run.key_id is None:
            return self._request.headers
        origin = origin_of(self._request.url)
        progress.enter(Phase.LEASING)
        key = await self._provider.lease(self._run, origin)
        return attach_key(self._request, key, datetime.now(UTC))


def http_providers(
    adapters: Mapping[str, Adapter], client: UpstreamClient, timeouts: Timeouts, lease: Lease = refuse_lease
) -> dict[str, HttpProvider]:
    """Return every provider that is called over HTTP, by name."""
    return {name: HttpProvider(adapter, client, timeouts, lease) for name, adapter in adapters.items()}
