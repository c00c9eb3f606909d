"""Adapts an OpenAI chat request to one OpenAI-compatible provider.

An unsupported field is rejected by name or, if the tenant allows it, dropped and reported. Nothing is dropped silently.
"""

from collections.abc import Mapping

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_compatible.capabilities import ChatCapabilities, StreamUsage, is_neutral
from services.provider_worker.adapters.response.json_text import JsonObject, as_object


class RequestEditor:
    """Edits one request for a provider. `document` is the caller's own object until something has to change."""

    def __init__(self, document: JsonObject, title: str, *, drop_unsupported: bool) -> None:
        self.document = document
        self.dropped: list[str] = []
        self._caller = document
        self._title = title
        self._drop_unsupported = drop_unsupported

    def remove(self, name: str) -> None:
        """Remove a parameter that asks for nothing."""
        self._own().pop(name, None)

    def set(self, name: str, value: object) -> None:
        """Set a parameter."""
        self._own()[name] = value

    def drop_or_reject(self, field: str) -> None:
        """Record that `field` is dropped. Raises RefusedByAdapter unless the tenant allows that."""
        if not self._drop_unsupported:
            raise bad_request(
                f"{self._title} does not support `{field}`; leave it out, choose another provider, or have your operator allow "
                "dropping unsupported fields.",
                field,
            )
        self.dropped.append(field)

    def rename(self, renames: Mapping[str, str]) -> None:
        """Give parameters the provider's names. Of two with the same meaning, the newer (the one renamed) wins."""
        for name, theirs in renames.items():
            value = self.document.get(name)
            if name in self.document:
                self.remove(name)
            if value is not None:
                self.set(theirs, value)

    def strip(self, names: frozenset[str]) -> None:
        """Remove the parameters `names`.

        Raises RefusedByAdapter for one that asks for something and must not be dropped.
        """
        has_tools = bool(self._caller.get("tools") or self._caller.get("functions"))
        for name in [name for name in self.document if name in names]:
            if not is_neutral(name, self.document[name], has_tools=has_tools):
                self.drop_or_reject(name)
            self.remove(name)

    def _own(self) -> JsonObject:
        if self.document is self._caller:
            self.document = dict(self._caller)
        return self.document


def fit_chat_request(editor: RequestEditor, chat: ChatCapabilities) -> None:
    """Adapt everything but the model and what streaming needs. Raises RefusedByAdapter."""
    if chat.logprobs_as_count:
        _convert_logprobs(editor)
    if chat.renames:
        editor.rename(chat.renames)
    if not chat.refused.isdisjoint(editor.document):
        editor.strip(chat.refused)
    if chat.response_formats is not None:
        _fit_response_format(editor, chat.response_formats)
    if chat.stream_usage is StreamUsage.ALWAYS and "stream_options" in editor.document:
        editor.remove("stream_options")
    if chat.inspects_messages:
        _fit_messages(editor, chat)


def _convert_logprobs(editor: RequestEditor) -> None:
    top = editor.document.get("top_logprobs")
    requested = editor.document.get("logprobs")
    if "top_logprobs" in editor.document:
        editor.remove("top_logprobs")
    if isinstance(requested, bool):
        editor.remove("logprobs")
        if requested:
            editor.set("logprobs", top if isinstance(top, int) and top > 0 else 1)


def _fit_response_format(editor: RequestEditor, types: frozenset[str]) -> None:
    requested = editor.document.get("response_format")
    kind = as_object(requested).get("type")
    if requested is None or kind in types:
        return
    if kind != "text":
        editor.drop_or_reject("response_format")
    editor.remove("response_format")


def _fit_messages(editor: RequestEditor, chat: ChatCapabilities) -> None:
    messages = editor.document.get("messages")
    if not isinstance(messages, list):
        return
    changed: list[object] | None = None
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        changes: JsonObject = {}
        if not chat.developer_role and message.get("role") == "developer":
            changes["role"] = "system"
        parts = message.get("content")
        if isinstance(parts, list):
            kept = _fit_parts(editor, chat, parts, f"messages[{position}].content")
            if kept is not parts:
                changes["content"] = kept
        if changes:
            changed = list(messages) if changed is None else changed
            changed[position] = message | changes
    if changed is not None:
        editor.set("messages", changed)


def _fit_parts(editor: RequestEditor, chat: ChatCapabilities, parts: list[object], where: str) -> list[object]:
    """Return `parts` without the unsupported ones; the same list if nothing changes."""
    kept: list[object] = []
    for position, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in chat.refused_parts or (kind == "image_url" and not chat.image_links and _is_link(part)):
            editor.drop_or_reject(f"{where}[{position}].{kind}")
        elif kind == "input_audio" and chat.audio_as_text:
            kept.append({"type": "input_audio", "input_audio": _audio_text(part)})
        else:
            kept.append(part)
    if not kept and parts:
        raise bad_request(f"All parts of `{where}` are unsupported by this provider.", where)
    return parts if len(kept) == len(parts) and all(a is b for a, b in zip(kept, parts, strict=True)) else kept


def _is_link(part: object) -> bool:
    image = as_object(part).get("image_url")
    url = image if isinstance(image, str) else as_object(image).get("url")
    return isinstance(url, str) and not url.startswith("data:")


def _audio_text(part: object) -> object:
    audio = as_object(part).get("input_audio")
    return audio.get("data") if isinstance(audio, dict) else audio
