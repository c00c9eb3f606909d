"""The adapter for AWS Bedrock.

A tenant's key is an access key with its secret, with which the HTTP layer signs, or a Bedrock API key, which it sends
as a bearer token. The region is a field of the key: it is part of the host name and of the signature.
"""

import re
from collections.abc import Mapping
from urllib.parse import quote

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import Answer, AnswerReader, SigV4Auth, UpstreamRequest, bad_request
from services.provider_worker.adapters.bedrock.embeddings import build_embedding_body, read_embeddings
from services.provider_worker.adapters.bedrock.errors import failure_of_response
from services.provider_worker.adapters.bedrock.json_answer import JSON_ANSWER_NOTE, answers_by_tool, read_json_answer
from services.provider_worker.adapters.bedrock.request import build_chat_body, chat_rules
from services.provider_worker.adapters.bedrock.response import read_completion
from services.provider_worker.adapters.bedrock.stream import StreamReader
from services.provider_worker.adapters.openai_format.embeddings import ENCODING_NOTE, estimate_note
from services.provider_worker.adapters.openai_format.fields import CallerFields, render_body
from services.provider_worker.adapters.openai_format.tool_names import restore_tool_names
from services.provider_worker.adapters.response.body import MAX_ERROR_BYTES, DocumentReader

PROVIDER = "AWS Bedrock"
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-\d{1,2}", re.ASCII)
_EVENT_STREAM = "application/vnd.amazon.eventstream"


class BedrockAdapter:
    """Bedrock's Converse API for chats, InvokeModel for embeddings."""

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """Build the request, not yet signed, for the caller's body. Raises RefusedByAdapter."""
        region = _region_of(run)
        is_chat = run.kind is RequestKind.CHAT
        fields = CallerFields(run, body, PROVIDER, chat_rules(run.model) if is_chat else None)
        notes = dict(fields.notes)
        if run.kind is RequestKind.EMBEDDING:
            operation = "invoke"
            notes |= estimate_note(fields.take("input"))
            document, notes[ENCODING_NOTE] = build_embedding_body(run, fields)
        else:
            operation = "converse-stream" if run.stream else "converse"
            document = build_chat_body(run, fields)
            if answers_by_tool(document, fields):
                notes[JSON_ANSWER_NOTE] = "1"
        base_url = run.base_url or _base_url(region)
        return UpstreamRequest(
            url=f"{base_url.rstrip('/')}/model/{quote(run.model, safe='')}/{operation}",
            headers={
                "content-type": "application/json",
                "accept": _EVENT_STREAM if operation == "converse-stream" else "application/json",
            },
            content=render_body(document),
            auth=SigV4Auth("bedrock", region),
            dropped=tuple(fields.dropped),
            notes=notes,
        )

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """Create a reader for the response to `request` with this status and these headers (names in lower case)."""
        if not 200 <= status < 300:
            return DocumentReader(
                lambda content: Answer(failure=failure_of_response(status, headers, content)), MAX_ERROR_BYTES
            )
        if run.kind is RequestKind.EMBEDDING:
            return DocumentReader(lambda content: read_embeddings(run, headers, request.notes, content))
        reader: AnswerReader = (
            StreamReader(run, headers)
            if run.stream
            else DocumentReader(lambda content: read_completion(run, headers, content))
        )
        return restore_tool_names(read_json_answer(reader, request.notes), request.notes)


def _region_of(run: AttemptRun) -> str:
    region = run.key_fields.get("region", "")
    if not _REGION.fullmatch(region):
        raise bad_request("The key for AWS Bedrock names no AWS region; give it one, such as `eu-central-1`.", "region")
    return region


def _base_url(region: str) -> str:
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://bedrock-runtime.{region}.{domain}"
