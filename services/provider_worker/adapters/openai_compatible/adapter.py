"""The adapter for all OpenAI-compatible providers, parametrised by a row of `providers.py`."""

from collections.abc import Mapping

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.providers import PROVIDERS, ProviderFacts
from keyferry.contracts.usage import RequestKind
from services.provider_worker.adapters.adapter import AnswerReader, RefusedByAdapter, UpstreamRequest, bad_request
from services.provider_worker.adapters.openai_compatible.capabilities import StreamUsage
from services.provider_worker.adapters.openai_compatible.editor import RequestEditor
from services.provider_worker.adapters.openai_compatible.embeddings import (
    EmbeddingReader,
    fit_embedding_request,
    reader_notes,
)
from services.provider_worker.adapters.openai_compatible.errors import ErrorReader
from services.provider_worker.adapters.openai_compatible.providers import CompatibleProvider, foreign_extras
from services.provider_worker.adapters.openai_compatible.request import fit_chat_request
from services.provider_worker.adapters.openai_compatible.response import CompletionReader
from services.provider_worker.adapters.openai_compatible.stream import StreamReader
from services.provider_worker.adapters.openai_format.tool_names import restore_tool_names
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, parse_object, render


class CompatibleAdapter:
    """The OpenAI API as one provider implements it."""

    def __init__(self, provider: CompatibleProvider, facts: ProviderFacts | None = None) -> None:
        profile = facts or PROVIDERS.bundled.get(provider.name)
        self.provider = provider
        self._title = profile.title if profile is not None else provider.name
        self._name_in_messages = "This server" if provider.takes_any_extra else self._title
        self._base_url = profile.base_url if profile is not None else None
        self._foreign = foreign_extras(provider)

    def request(self, run: AttemptRun, body: bytes) -> UpstreamRequest:
        """Adapt the caller's body to the provider and `run.model`, requesting usage if streamed.

        Raises RefusedByAdapter.
        """
        is_embedding = run.kind is RequestKind.EMBEDDING
        provider = self.provider
        base_url = run.base_url or self._base_url
        if base_url is None:
            raise _missing_base_url()
        if is_embedding and provider.embeddings is None:
            raise bad_request(
                f"{self._name_in_messages} has no embeddings; choose a model of another provider.", "model"
            )
        document = parse_object(body)
        if document is None:
            raise bad_request("The request body is not a JSON object.", None)
        path = provider.embeddings_path if is_embedding else provider.chat_path
        notes: Mapping[str, str]
        url, model = provider.url(base_url, path, run)
        editor = RequestEditor(document, self._name_in_messages, drop_unsupported=run.drop_unsupported)
        if not self._foreign.isdisjoint(document):
            editor.strip(self._foreign)
        for name in provider.name_models & document.keys():
            if document[name]:
                editor.drop_or_reject(name, _NAMES_MODELS)
            editor.remove(name)
        if is_embedding and provider.embeddings is not None:
            fit_embedding_request(editor, provider.embeddings)
            notes = reader_notes(document)
        else:
            notes = fit_chat_request(editor, provider.chat, model)
        return UpstreamRequest(
            url=url,
            headers=self._headers(run),
            content=self._content(run, body, document, editor, model),
            auth=provider.auth,
            dropped=tuple(editor.dropped),
            notes=notes,
        )

    def reader(
        self, run: AttemptRun, request: UpstreamRequest, status: int, headers: Mapping[str, str]
    ) -> AnswerReader:
        """Create a reader for the response to `request` with this status and these headers (names in lower case)."""
        if not 200 <= status < 300:
            return ErrorReader(status, headers)
        if run.kind is RequestKind.EMBEDDING:
            return EmbeddingReader(request.notes, headers)
        reader = StreamReader(run, headers) if run.stream else CompletionReader(run, headers)
        return restore_tool_names(reader, request.notes)

    def _headers(self, run: AttemptRun) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "accept": "text/event-stream" if run.stream else "application/json",
        }
        for field, name in self.provider.field_headers.items():
            if value := run.key_fields.get(field):
                headers[name] = value
        return headers

    def _content(self, run: AttemptRun, body: bytes, caller: JsonObject, editor: RequestEditor, model: str) -> bytes:
        document = editor.document
        changes = self._changes(run, document, model)
        if document is caller and all(document.get(name) == value for name, value in changes.items()):
            return body
        try:
            return render(document | changes)
        except ValueError:
            raise bad_request("The request body is nested too deeply.", None) from None

    def _changes(self, run: AttemptRun, document: JsonObject, model: str) -> JsonObject:
        changes: JsonObject = {"model": model}
        if bool(document.get("stream")) != run.stream:
            changes["stream"] = run.stream
        if run.stream and self.provider.chat.stream_usage is StreamUsage.ASK:
            changes["stream_options"] = as_object(document.get("stream_options")) | {"include_usage": True}
        return changes


_NAMES_MODELS = (
    "It has other models answer than the one that this request may use; the preference `fallback_models` names others."
)


def _missing_base_url() -> RefusedByAdapter:
    message = "The attempt has no base URL to call."
    return RefusedByAdapter(Failure(failure_class=FailureClass.INTERNAL, message=message, where=Where.NOT_SENT))
