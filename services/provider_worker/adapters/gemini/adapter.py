"""The adapter for Google's generateContent, in AI Studio and Vertex AI.

AI Studio takes an API key. Vertex takes an access token for a project and a location, or an API key of its express
mode; besides the key it needs the key fields `project` and `location`, and for an API key together with a project
`auth: api_key`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import BEARER, AnswerReader, Auth, HeaderAuth, UpstreamRequest
from services.provider_worker.adapters.gemini.content import MediaRules
from services.provider_worker.adapters.gemini.embeddings import EmbeddingReader, build_embedding_request
from services.provider_worker.adapters.gemini.errors import ErrorReader
from services.provider_worker.adapters.gemini.models import takes_thinking_level
from services.provider_worker.adapters.gemini.request import CHAT_RULES, GeminiTarget, RequestTranslator
from services.provider_worker.adapters.gemini.response import CompletionReader
from services.provider_worker.adapters.gemini.stream import StreamReader
from services.provider_worker.adapters.gemini.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.openai_format.prepared import prepare_chat
from services.provider_worker.adapters.openai_format.tool_names import restore_tool_names
from services.provider_worker.adapters.response.json_text import JsonObject, parse_object, render

_GOOGLE_KEY = HeaderAuth("x-goog-api-key", "")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,62}")
_LOCATION = re.compile(r"[a-z][a-z0-9-]{0,30}")
_VERSION = re.compile(r"v1(?:beta1)?")
_MULTI_REGIONS = frozenset({"us", "eu"})


@dataclass(frozen=True, slots=True)
class GeminiProvider:
    """One of Google's two APIs."""

    name: str
    vertex: bool
    base_url: str | None = None
    """The API's base URL unless the attempt has one; null if it follows from the key fields."""


AI_STUDIO = GeminiProvider("gemini", vertex=False, base_url="https://generativelanguage.googleapis.com/v1beta")
VERTEX = GeminiProvider("vertex", vertex=True)


class GeminiAdapter:
    """Google's API, in AI Studio or Vertex."""

    def __init__(self, provider: GeminiProvider) -> None:
        self._provider = provider

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """Build the request for the caller's body, a chat or embeddings by `run.kind`. Raises RefusedByAdapter."""
        document = parse_object(body)
        if document is None:
            raise bad_field("body", "the request body is not a JSON object.")
        unsupported = UnsupportedFields(drop=run.drop_unsupported)
        model = run.model.removeprefix("models/")
        notes: dict[str, str] = {}
        base_url, auth = self._address(run)
        if run.kind is RequestKind.EMBEDDING:
            call = build_embedding_request(document, model, vertex=self._provider.vertex, unsupported=unsupported)
            method, content, notes = call.method, call.content, call.notes
        else:
            method = "streamGenerateContent?alt=sse" if run.stream else "generateContent"
            prepared = prepare_chat(document, CHAT_RULES, unsupported.drop_or_reject)
            notes = dict(prepared.notes)
            content = RequestTranslator(self._target(model, base_url), unsupported).request(prepared)
        return UpstreamRequest(
            url=f"{base_url}/{_model_path(model)}:{method}",
            headers={
                "content-type": "application/json",
                "accept": "text/event-stream" if run.stream else "application/json",
            },
            content=_render(content),
            auth=auth,
            dropped=unsupported.dropped,
            notes=notes,
        )

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """Create a reader for the response to `request` with this status and these headers (names in lower case)."""
        if not 200 <= status < 300:
            return ErrorReader(status, headers)
        if run.kind is RequestKind.EMBEDDING:
            return EmbeddingReader(run, request.notes)
        reader = StreamReader(run, headers) if run.stream else CompletionReader(run, headers)
        return restore_tool_names(reader, request.notes)

    def _target(self, model: str, base_url: str) -> GeminiTarget:
        vertex = self._provider.vertex
        rules = MediaRules(needs_media_type=vertex, files_url=None if vertex else base_url, takes_call_ids=not vertex)
        continues = not (vertex and takes_thinking_level(model))
        return GeminiTarget(model, rules, continues_answers=continues, takes_labels=vertex)

    def _address(self, run: AttemptRun) -> tuple[str, Auth]:
        """Return the base URL and how the key is attached. Raises RefusedByAdapter for a key field unfit for a URL."""
        if not self._provider.vertex:
            return (run.base_url or self._provider.base_url or "").rstrip("/"), _GOOGLE_KEY
        project, location = run.key_fields.get("project"), run.key_fields.get("location") or "global"
        auth = _GOOGLE_KEY if project is None or run.key_fields.get("auth") == "api_key" else BEARER
        if run.base_url:
            return run.base_url.rstrip("/"), auth
        version = run.key_fields.get("api_version") or "v1"
        if not _VERSION.fullmatch(version):
            raise bad_field(
                "api_version",
                "the key's field `api_version` must be v1 or v1beta1; save the key again with one of them.",
            )
        if project is None:
            return f"https://aiplatform.googleapis.com/{version}/publishers/google", auth
        if not _PROJECT.fullmatch(project):
            raise bad_field(
                "project",
                "the key's field `project` is not a Google Cloud project id; save the key again with the right one.",
            )
        if not _LOCATION.fullmatch(location):
            raise bad_field(
                "location",
                "the key's field `location` is not a Google Cloud location; save the key again with the right one.",
            )
        where = f"{version}/projects/{project}/locations/{location}/publishers/google"
        return f"https://{_host(location)}/{where}", auth


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _model_path(model: str) -> str:
    """Return `models/<name>`, with nothing in the name that would end the path; AI Studio's tuned models have another folder."""
    if model.startswith("tunedModels/"):
        return f"tunedModels/{quote(model.removeprefix('tunedModels/'), safe='')}"
    return f"models/{quote(model, safe='')}"


def _render(content: JsonObject) -> bytes:
    try:
        return render(content)
    except ValueError:
        raise bad_field("body", "the request body is nested too deeply.") from None
