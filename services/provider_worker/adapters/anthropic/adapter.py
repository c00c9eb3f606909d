"""The adapter for Anthropic's Messages API."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import AnswerReader, HeaderAuth, UpstreamRequest
from services.provider_worker.adapters.anthropic.errors import ErrorReader
from services.provider_worker.adapters.anthropic.request import translate_request
from services.provider_worker.adapters.anthropic.response import CompletionReader
from services.provider_worker.adapters.anthropic.stream import StreamReader
from services.provider_worker.adapters.anthropic.unsupported import bad_field
from services.provider_worker.adapters.openai_format.tool_names import restore_tool_names
from services.provider_worker.adapters.response.json_text import parse_object, render

BASE_URL = "https://api.anthropic.com"
API_VERSION = "2023-06-01"
"""The API version that this package uses. The next one, 2026-10-21, takes no temperature, top_p or top_k at all, which
the models before Claude 4.7 still have.
"""
_AUTH = HeaderAuth(name="x-api-key", prefix="")


class AnthropicAdapter:
    """Anthropic's API. A base URL in the attempt replaces Anthropic's, with or without its `/v1`."""

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """Build the Messages request for the caller's body. Raises RefusedByAdapter."""
        if run.kind is not RequestKind.CHAT:
            raise bad_field("model", "Anthropic has no embeddings; choose a model of another provider.")
        document = parse_object(body)
        if document is None:
            raise bad_field(None, "The request body is not a JSON object.")
        translation = translate_request(run, document)
        try:
            content = render(translation.body)
        except ValueError:
            raise bad_field(None, "The request body is nested too deeply.") from None
        base_url = (run.base_url or BASE_URL).rstrip("/").removesuffix("/v1")
        return UpstreamRequest(
            url=f"{base_url}/v1/messages",
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if run.stream else "application/json",
                "anthropic-version": API_VERSION,
            },
            content=content,
            auth=_AUTH,
            dropped=translation.dropped,
            notes={
                **translation.notes,
                **({} if translation.json_tool is None else {"json_tool": translation.json_tool}),
            },
        )

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """Create a reader for the response to `request` with this status and these headers (names in lower case)."""
        if not 200 <= status < 300:
            return ErrorReader(status, headers)
        json_tool = request.notes.get("json_tool")
        reader = StreamReader(run, json_tool) if run.stream else CompletionReader(run, json_tool)
        return restore_tool_names(reader, request.notes)
