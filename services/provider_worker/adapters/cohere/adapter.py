"""The adapter for Cohere."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import BEARER, Answer, AnswerReader, UpstreamRequest
from services.provider_worker.adapters.cohere.embeddings import build_embedding_body, read_embeddings
from services.provider_worker.adapters.cohere.errors import failure_of_response
from services.provider_worker.adapters.cohere.request import CHAT_RULES, build_chat_body
from services.provider_worker.adapters.cohere.response import read_completion
from services.provider_worker.adapters.cohere.stream import StreamReader
from services.provider_worker.adapters.openai_format.embeddings import ENCODING_NOTE, estimate_note
from services.provider_worker.adapters.openai_format.fields import CallerFields, render_body
from services.provider_worker.adapters.openai_format.tool_names import restore_tool_names
from services.provider_worker.adapters.response.body import MAX_ERROR_BYTES, DocumentReader

PROVIDER = "Cohere"
_BASE_URL = "https://api.cohere.com"


class CohereAdapter:
    """Cohere's `v2/chat` and `v2/embed`."""

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """Build the request for the caller's body. Raises RefusedByAdapter."""
        fields = CallerFields(run, body, PROVIDER, CHAT_RULES if run.kind is RequestKind.CHAT else None)
        notes = dict(fields.notes)
        if run.kind is RequestKind.EMBEDDING:
            path = "v2/embed"
            notes |= estimate_note(fields.take("input"))
            document, notes[ENCODING_NOTE] = build_embedding_body(run, fields)
        else:
            path = "v2/chat"
            document = build_chat_body(run, fields)
        streams = run.stream and run.kind is RequestKind.CHAT
        return UpstreamRequest(
            url=f"{(run.base_url or _BASE_URL).rstrip('/')}/{path}",
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if streams else "application/json",
            },
            content=render_body(document),
            auth=BEARER,
            dropped=tuple(fields.dropped),
            notes=notes,
        )

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """Create a reader for the response to `request` with this status and these headers (names in lower case)."""
        if not 200 <= status < 300:
            return DocumentReader(
                lambda body: Answer(failure=failure_of_response(status, headers, body)), MAX_ERROR_BYTES
            )
        if run.kind is RequestKind.EMBEDDING:
            return DocumentReader(lambda body: read_embeddings(run, request.notes, body))
        reader: AnswerReader = (
            StreamReader(run, headers) if run.stream else DocumentReader(lambda b: read_completion(run, headers, b))
        )
        return restore_tool_names(reader, request.notes)
