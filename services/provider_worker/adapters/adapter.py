"""The interface between the worker and a provider's adapter.

An adapter is pure: it builds the provider's request from the caller's body, and reads the response from bytes as they
arrive, cut anywhere. The worker owns the network, the clock, the deadline and the accounting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.money import usd
from keyferry.contracts.text import clean
from keyferry.contracts.usage import KeyRate, TokenUsage, UsageSource
from services.provider_worker.adapters.usage_report import NO_REPORT, UsageReport

_MAX_REPORTED_CHARACTERS = 200
_MAX_REFUSAL_CHARACTERS = 600


@dataclass(frozen=True, slots=True)
class HeaderAuth:
    """The key is sent in the header `name`, after `prefix`."""

    name: str = "authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class SigV4Auth:
    """The request is signed with the key by AWS Signature Version 4, unless the key is itself a bearer token."""

    service: str
    region: str


Auth = HeaderAuth | SigV4Auth
"""How a key is attached, if the attempt has one. Adapters never see the key: the HTTP layer attaches it, for its origin
only."""
BEARER = HeaderAuth()


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One POST to send. `url` is absolute; `headers` hold no key."""

    url: str
    headers: Mapping[str, str]
    content: bytes
    auth: Auth = BEARER
    dropped: tuple[str, ...] = ()
    """Unsupported fields of the caller's body that were left out; only with `run.drop_unsupported`."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the adapter itself needs to read the response."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a response, once its body has ended or failed.

    `failure` is null if the provider marked the answer as complete. `body` is the `chat.completion` JSON for the caller
    of a non-streamed request, or the `list` of embeddings. `usage` holds what the provider reported, if anything.
    """

    failure: Failure | None = None
    body: bytes = b""
    finish_reason: str | None = None
    model_served: str | None = None
    service_tier: str | None = None
    """The processing tier the provider says it used (`flex`, `priority`, `batch`), where prices depend on it."""
    usage: UsageReport = NO_REPORT
    reported_cost_usd: Decimal | None = None
    """The provider's charge for the counts in `usage`."""
    key_rate: KeyRate | None = None
    """What the response's headers report of the key's rate limits."""
    late: tuple[bytes, ...] = ()
    """Chunks of a stream that only the end of its body completed, as when the last blank line is missing. They are sent
    to the caller before the end; a failed answer has none."""

    def __post_init__(self) -> None:
        """Clean what the provider wrote: it goes into the record of a call that is paid."""
        for name in ("finish_reason", "model_served", "service_tier"):
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, clean(text, _MAX_REPORTED_CHARACTERS))
        if self.reported_cost_usd is not None:
            object.__setattr__(self, "reported_cost_usd", _recordable(self.reported_cost_usd))

    @property
    def token_usage(self) -> TokenUsage:
        """The token counts that were reported."""
        return self.usage.token_usage

    @property
    def usage_source(self) -> UsageSource:
        """Whether any were reported."""
        return self.usage.source


def _recordable(cost_usd: Decimal) -> Decimal | None:
    """Return the cost, or None where no record can hold it."""
    try:
        return usd(cost_usd)
    except (ValueError, ArithmeticError):
        return None


class RefusedByAdapter(Exception):
    """The provider does not support what is requested; nothing was sent.

    The message may quote the request, and is recorded, so it is cut.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure.model_copy(update={"message": clean(failure.message, _MAX_REFUSAL_CHARACTERS)})
        super().__init__(self.failure.message)


class AnswerReader(Protocol):
    """Reads one HTTP response."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the OpenAI `chat.completion.chunk` JSON texts (no newline inside) that `data` completes; none if not streamed.

        Never raises for anything a provider sends: errors are kept for `close`, and make `over` true.
        """

    @property
    def over(self) -> bool:
        """Whether reading on is pointless: the end of the answer has arrived, or an error."""

    def close(self) -> Answer:
        """Return the result at the end of the body, or when the worker stops waiting.

        A stream without its end is `truncated`.
        """


class Adapter(Protocol):
    """Translates one provider's API, both ways."""

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """Build the provider's request for the caller's body, a chat or embeddings by `run.kind`.

        Raises RefusedByAdapter.
        """

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """Create a reader for the response to `request` with this status and these headers (names in lower case)."""


def bad_request(message: str, param: str | None) -> RefusedByAdapter:
    """Build the rejection of a request that cannot be translated: status 400, nothing sent.

    `message` says what to do.
    """
    return RefusedByAdapter(
        Failure(failure_class=FailureClass.BAD_REQUEST, message=message, where=Where.NOT_SENT, status=400, param=param)
    )
