"""What the worker asks of a provider's adapter.

An adapter is pure: it builds the request from the caller's body, and reads the answer from bytes as they come, cut anywhere.
The worker owns the network, the clock, the deadline and the accounting.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import TokenUsage, UsageSource


@dataclass(frozen=True, slots=True)
class HeaderAuth:
    """A key goes into the header `name`, after `prefix`."""

    name: str = "authorization"
    prefix: str = "Bearer "


@dataclass(frozen=True, slots=True)
class SigV4Auth:
    """The request is signed with the key by AWS Signature Version 4, unless the key is a bearer token of its own."""

    service: str
    region: str


Auth = HeaderAuth | SigV4Auth
"""How a key, where the attempt has one, is attached. Adapters never see it: the HTTP layer does that, for its origin only."""
BEARER = HeaderAuth()


@dataclass(frozen=True, slots=True)
class UpstreamRequest:
    """One POST to make. `url` is absolute; `headers` hold no key."""

    url: str
    headers: Mapping[str, str]
    content: bytes
    auth: Auth = BEARER
    dropped: tuple[str, ...] = ()
    """Fields of the caller's body that the provider cannot take and that were left out; only with `run.drop_unsupported`."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What the adapter itself has to remember for reading the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer came to, once its body has ended or failed.

    `failure` is null when the provider said that the answer is whole. `body` is the `chat.completion` JSON for the caller of
    a request that was not streamed, or the `list` of embeddings. `meters` hold what the provider reported, if it did.
    """

    failure: Failure | None = None
    body: bytes = b""
    finish_reason: str | None = None
    model_served: str | None = None
    service_tier: str | None = None
    """The processing tier that the provider says it used (`flex`, `priority`, `batch`), where prices differ by it."""
    token_usage: TokenUsage = field(default_factory=TokenUsage)
    usage_source: UsageSource = UsageSource.NONE
    reported_cost_usd: Decimal | None = None
    late: tuple[bytes, ...] = ()
    """Chunks of a stream that nothing but the end of its body completed, as where the last blank line is missing. They go to
    the caller before the end; a failed answer has none."""


class RefusedByAdapter(Exception):
    """The provider cannot do what is asked; nothing was sent."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class AnswerReader(Protocol):
    """Reads one HTTP response."""

    def feed(self, data: bytes) -> list[bytes]:
        """The OpenAI `chat.completion.chunk` JSON texts (no newline inside) that `data` completes, for a stream; else none.

        Never raises for what a provider sends: trouble is kept for `close` and makes `over` true.
        """

    @property
    def over(self) -> bool:
        """Whether reading on is useless: the terminal evidence has come, or an error has."""

    def close(self) -> Answer:
        """The end of the body, or of the worker's patience. A stream without terminal evidence is `truncated`."""


class Adapter(Protocol):
    """A provider's dialect, both ways."""

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """The provider's request for the caller's body, a chat's or embeddings' by `run.kind`. Raises RefusedByAdapter."""

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """A reader for the response to `request` with this status and these headers (names in lower case)."""


def bad_request(message: str, param: str | None) -> RefusedByAdapter:
    """The refusal of a request that cannot be translated: status 400, nothing sent. `message` says what to do."""
    return RefusedByAdapter(
        Failure(failure_class=FailureClass.BAD_REQUEST, message=message, where=Where.NOT_SENT, status=400, param=param)
    )
