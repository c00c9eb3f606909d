"""The adapter for every provider that speaks OpenAI's chat completions, told apart by rows of declared quirks."""

from collections.abc import Mapping
from dataclasses import dataclass

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import AnswerReader, RefusedByAdapter, UpstreamRequest
from services.provider_worker.adapters.documents import JsonObject, as_object, parse_object, render
from services.provider_worker.adapters.stream import StreamReader
from services.provider_worker.adapters.whole import ErrorReader, WholeReader


@dataclass(frozen=True, slots=True)
class CompatibleProvider:
    """What is particular to one provider. A provider that needs only data is a row of this, and no code."""

    name: str
    base_url: str | None = None
    """Where its API is if the attempt does not say; null for endpoints that tenants register."""
    chat_path: str = "/chat/completions"
    stream_usage: bool = True
    """Whether it understands `stream_options.include_usage`; without it a stream has nothing to bill by."""


CUSTOM = CompatibleProvider(name="custom")
"""An endpoint that a tenant registered: anything that calls itself OpenAI-compatible."""


class CompatibleAdapter:
    """OpenAI's dialect, spoken with one provider."""

    def __init__(self, provider: CompatibleProvider) -> None:
        self._provider = provider

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """The caller's body for `run.model`, asking for usage if streamed. Raises RefusedByAdapter."""
        base_url = run.base_url or self._provider.base_url
        if base_url is None:
            raise _refused(FailureClass.INTERNAL, "The attempt names no base URL to call.", None)
        return UpstreamRequest(
            url=base_url.rstrip("/") + self._provider.chat_path,
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if run.stream else "application/json",
            },
            content=self._content(run, body),
        )

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """A reader for the response to `request` with this status and these headers (names in lower case)."""
        if not 200 <= status < 300:
            return ErrorReader(status, headers)
        return StreamReader(run, headers) if run.stream else WholeReader(run, headers)

    def _content(self, run: AttemptRun, body: bytes) -> bytes:
        document = parse_object(body)
        if document is None:
            raise _refused(FailureClass.BAD_REQUEST, "The request body is not a JSON object.", 400)
        changes = self._changes(run, document)
        if all(document.get(name) == value for name, value in changes.items()):
            return body
        try:
            return render(document | changes)
        except ValueError:
            raise _refused(FailureClass.BAD_REQUEST, "The request body is nested too deeply.", 400) from None

    def _changes(self, run: AttemptRun, document: JsonObject) -> JsonObject:
        changes: JsonObject = {"model": run.model}
        if bool(document.get("stream")) != run.stream:
            changes["stream"] = run.stream
        if run.stream and self._provider.stream_usage:
            changes["stream_options"] = as_object(document.get("stream_options")) | {"include_usage": True}
        return changes


def _refused(failure_class: FailureClass, message: str, status: int | None) -> RefusedByAdapter:
    return RefusedByAdapter(Failure(failure_class=failure_class, message=message, where=Where.NOT_SENT, status=status))
