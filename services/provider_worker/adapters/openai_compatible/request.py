"""Adapts an OpenAI chat request to one OpenAI-compatible provider.

An unsupported field is rejected by name or, if the tenant allows it, dropped and reported. Nothing is dropped silently.
"""

from collections.abc import Mapping

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_compatible.capabilities import (
    ChatCapabilities,
    ModelDifferences,
    StreamUsage,
)
from services.provider_worker.adapters.openai_compatible.editor import RequestEditor
from services.provider_worker.adapters.openai_compatible.messages import MessageFitter
from services.provider_worker.adapters.openai_compatible.values import fit_values
from services.provider_worker.adapters.openai_format.messages import parse_data_url
from services.provider_worker.adapters.openai_format.prepared import prepare_chat
from services.provider_worker.adapters.response.json_text import JsonObject, as_object


def fit_chat_request(editor: RequestEditor, chat: ChatCapabilities, model: str) -> Mapping[str, str]:
    """Adapt everything but the model and what streaming needs; return the notes for the reader of the answer.

    Raises RefusedByAdapter.
    """
    prepared = prepare_chat(editor.document, chat.chat, editor.drop_or_reject)
    editor.replace(prepared.document)
    differences = ModelDifferences() if chat.by_model is None else chat.by_model(editor.document, model)
    for refused, of_model in ((chat.refused, None), (differences.refused, model)):
        if not refused.isdisjoint(editor.document):
            editor.strip(refused, of_model)
    for name in differences.dropped & editor.document.keys():
        editor.remove(name)
        editor.dropped.append(name)
    fit_values(editor, chat)
    _rename_parameters(editor, chat, differences)
    if chat.response_formats is not None:
        _fit_response_format(editor, chat.response_formats)
    if chat.stream_usage is StreamUsage.ALWAYS and "stream_options" in editor.document:
        editor.remove("stream_options")
    if chat.inspects_messages:
        _fit_messages(editor, chat)
    messages = editor.document.get("messages")
    if isinstance(messages, list):
        fitter = MessageFitter(chat.messages, model, thinks=differences.thinks, drop_or_reject=editor.drop_or_reject)
        fitted = fitter.fit(messages, prepared.paths)
        if fitted is not messages:
            editor.set("messages", fitted)
    return prepared.notes


def _rename_parameters(editor: RequestEditor, chat: ChatCapabilities, differences: ModelDifferences) -> None:
    """Give parameters the provider's names and forms."""
    if chat.logprobs_as_count:
        _convert_logprobs(editor)
    if chat.renames:
        editor.rename(chat.renames)
    if differences.renames:
        editor.modernise(differences.renames)


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
        editor.drop_or_reject("response_format", f"Its `type` may be: {', '.join(sorted(types))}.")
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
            why = (
                "Send the image itself, as a `data:` URL."
                if kind == "image_url" and kind not in chat.refused_parts
                else ""
            )
            editor.drop_or_reject(f"{where}[{position}].{kind}", why)
        elif kind == "image_url" and chat.image_types is not None and not _has_type(part, chat.image_types):
            editor.drop_or_reject(
                f"{where}[{position}].image_url", f"Images may be: {', '.join(sorted(chat.image_types))}."
            )
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


def _has_type(part: object, types: frozenset[str]) -> bool:
    """Return whether an image is a link, whose type is not known, or of one of these types."""
    image = as_object(part).get("image_url")
    media = parse_data_url(image if isinstance(image, str) else as_object(image).get("url"))
    return media is None or media.media_type in types


def _audio_text(part: object) -> object:
    audio = as_object(part).get("input_audio")
    return audio.get("data") if isinstance(audio, dict) else audio
