"""Calls providers over HTTP through their adapters."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from keyferry.contracts.chat import AttemptRun
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import IncompleteResponse
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.adapters.adapter import Adapter, Answer, UpstreamRequest
from services.provider_worker.adapters.openai_format.placeholders import find_added
from services.provider_worker.adapters.response.rate_headers import read_key_rate
from services.provider_worker.body_defaults import adapt_with_defaults
from services.provider_worker.keys.lease_client import KeyUnavailable
from services.provider_worker.provider_call import CallPreparer, Phase, Progress
from services.provider_worker.redaction.reader import ResponseRedactor
from services.provider_worker.redaction.redactors import Redactors
from services.provider_worker.redaction.secret_forms import NO_SECRETS
from services.provider_worker.upstream.attach_key import METHOD, attach_key, origin_of

Lease = Callable[[AttemptRun, str, bytes], Awaitable[LeasedKey]]
"""Gets the key of an attempt, with the caller's body, for a request to an origin. Raises KeyUnavailable."""


async def refuse_lease(run: AttemptRun, origin: str, body: bytes) -> LeasedKey:
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
    redactors: Redactors = field(default_factory=Redactors)

    def prepare(self, run: AttemptRun, body: bytes) -> "HttpCall":
        """Translate the caller's body into the provider's request. Raises RefusedByAdapter."""
        adapted = adapt_with_defaults(run, body, lambda document: self.adapter.request(run, document))
        request = adapted.result
        added = tuple(name for name in adapted.added if name not in request.dropped)
        dropped = tuple(name for name in request.dropped if name not in adapted.added)
        request = replace(request, dropped=dropped)
        return HttpCall(self, run, body, request, (*added, *find_added(request.content, body)))


class HttpCall:
    """One request to a provider. The key is leased within the attempt's deadline, just before it is used."""

    def __init__(
        self,
        provider: HttpProvider,
        run: AttemptRun,
        body: bytes,
        request: UpstreamRequest,
        added: tuple[str, ...] = (),
    ) -> None:
        self.answer = Answer()
        self.added = added
        self.origin: str | None = None
        self._provider = provider
        self._run = run
        self._body = body
        self._request = request

    @property
    def dropped(self) -> tuple[str, ...]:
        """Fields of the caller's body that the request leaves out."""
        return self._request.dropped

    async def make(self, progress: Progress) -> None:
        """Send the request and deliver what comes back. Raises RefusedByAdapter and UpstreamError."""
        provider, request = self._provider, self._request
        key = await self._lease_key(progress)
        headers, redactor = self._attach_key(key)
        progress.enter(Phase.SENDING)
        async with provider.client.stream(METHOD, request.url, headers, request.content, provider.timeouts) as response:
            self.origin = response.origin
            received = redactor.redact_headers(response.headers)
            reader = redactor.guard(
                provider.adapter.reader(self._run, request, response.status, received), response.status
            )
            broken = None
            try:
                async for data in response.aiter_raw():
                    await progress.deliver(reader.feed(data))
                    if reader.over:
                        break
            except IncompleteResponse as error:
                broken = error
            finally:
                # Also when cancelled, out of time or broken off: what was reported until then is still accounted for.
                self.answer = replace(reader.close(), key_rate=read_key_rate(received))
                if key is not None:
                    provider.redactors.report(redactor, key)
            if broken is not None and self.answer.failure is not None:
                raise broken
            # An answer that is complete by its own format has been paid for, however its connection ended.
            await progress.deliver(list(self.answer.late))

    async def _lease_key(self, progress: Progress) -> LeasedKey | None:
        """Return the key that pays for the call, if one does. Raises KeyUnavailable, and NotAttached for an unusable URL."""
        if self._run.key_id is None:
            return None
        origin = origin_of(self._request.url)
        progress.enter(Phase.LEASING)
        return await self._provider.lease(self._run, origin, self._body)

    def _attach_key(self, key: LeasedKey | None) -> tuple[Mapping[str, str], ResponseRedactor]:
        """Return the headers to send, and a redactor of the response. Raises NotAttached for a key of another origin."""
        if key is None:
            return self._request.headers, ResponseRedactor(NO_SECRETS)
        headers = attach_key(self._request, key, datetime.now(UTC))
        return headers, self._provider.redactors.for_call(key, headers)


class HttpProviders(Mapping[str, CallPreparer]):
    """The providers by name: `beside` and those of `adapters`, and any that the operator added meanwhile."""

    def __init__(
        self,
        adapters: Mapping[str, Adapter],
        make: Callable[[Adapter], HttpProvider],
        *,
        beside: Mapping[str, CallPreparer],
        find_added: Callable[[str], Adapter | None],
    ) -> None:
        self._known = {**beside, **{name: make(adapter) for name, adapter in adapters.items()}}
        self._make = make
        self._find_added = find_added

    def __getitem__(self, name: str) -> CallPreparer:
        if (known := self._known.get(name)) is not None:
            return known
        if (adapter := self._find_added(name)) is not None:
            return self._make(adapter)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
