"""An OpenAI-shaped chat request, fitted to what one provider of the family takes.

What it cannot take is refused with the field's name, or, where the tenant allows it, left out and reported. Never in silence.
"""

from collections.abc import Mapping

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_compatible.capabilities import ChatCapabilities, StreamUsage, is_neutral
from services.provider_worker.adapters.response.json_text import JsonObject, as_object


class RequestEditor:
    """One request on its way into a provider's shape. `document` is the caller's own object until something has to change."""

    def __init__(self, document: JsonObject, title: str, *, drop_unsupported: bool) -> None:
        self.document = document
        self.dropped: list[str] = []
        self._caller = document
        self._title = title
        self._drop_unsupported = drop_unsupported

    def remove(self, name: str) -> None:
        """Removes a parameter that asks for nothing."""
        self._own().pop(name, None)

    def set(self, name: str, value: object) -> None:
        """Sets a parameter."""
        self._own()[name] = value

    def drop_or_reject(self, field: str) -> None:
        """Notes that `field` is left out. Raises RefusedByAdapter unless the tenant allows that."""
        if not self._drop_unsupported:
            raise bad_request(
                f"{self._title} does not take {field}; leave it out, choose another provider, or let your operator allow "
                "dropping what a provider cannot take.",
                field,
            )
        self.dropped.append(field)

    def rename(self, renames: Mapping[str, str]) -> None:
        """Gives parameters the provider's names. Of two that mean the same, the newer (the one renamed) holds."""
        for name, theirs in renames.items():
            value = self.document.get(name)
            if name in self.document:
                self.remove(name)
            if value is not None:
                self.set(theirs, value)

    def strip(self, names: frozenset[str]) -> None:
        """Leaves out the parameters `names`. Raises RefusedByAdapter for one that asks for something and may not be dropped."""
        has_tools = bool(self._caller.get("tools") or self._caller.get("functions"))
        for name in [name for name in self.document if name in names]:
            if not is_neutral(name, self.document[name], has_tools=has_tools):
                self.drop_or_reject(name)
            self.remove(name)

    def _own(self) -> JsonObject:
        if self.document is self._caller:
            self.document = dict(self._caller)
        return self.document


def fit_chat_request(fitting: RequestEditor, chat: ChatCapabilities) -> None:
    """Fits everything but the model and what streaming needs. Raises RefusedByAdapter."""
    if chat.logprobs_as_count:
        _convert_logprobs(fitting)
    if chat.renames:
        fitting.rename(chat.renames)
    if not chat.refused.isdisjoint(fitting.document):
        fitting.strip(chat.refused)
    if chat.response_formats is not None:
        _fit_response_format(fitting, chat.response_formats)
    if chat.stream_usage is StreamUsage.ALWAYS and "stream_options" in fitting.document:
        fitting.remove("stream_options")
    if chat.inspects_messages:
        _fit_messages(fitting, chat)


def _convert_logprobs(fitting: RequestEditor) -> None:
    top = fitting.document.get("top_logprobs")
    wanted = fitting.document.get("logprobs")
    if "top_logprobs" in fitting.document:
        fitting.remove("top_logprobs")
    if isinstance(wanted, bool):
        fitting.remove("logprobs")
        if wanted:
            fitting.set("logprobs", top if isinstance(top, int) and top > 0 else 1)


def _fit_response_format(fitting: RequestEditor, types: frozenset[str]) -> None:
    wanted = fitting.document.get("response_format")
    kind = as_object(wanted).get("type")
    if wanted is None or kind in types:
        return
    if kind != "text":
        fitting.drop_or_reject("response_format")
    fitting.remove("response_format")


def _fit_messages(fitting: RequestEditor, chat: ChatCapabilities) -> None:
    messages = fitting.document.get("messages")
    if not isinstance(messages, list):
        return
    fitted: list[object] | None = None
    for position, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        changes: JsonObject = {}
        if not chat.developer_role and message.get("role") == "developer":
            changes["role"] = "system"
        parts = message.get("content")
        if isinstance(parts, list):
            kept = _fit_parts(fitting, chat, parts, f"messages[{position}].content")
            if kept is not parts:
                changes["content"] = kept
        if changes:
            fitted = list(messages) if fitted is None else fitted
            fitted[position] = message | changes
    if fitted is not None:
        fitting.set("messages", fitted)


def _fit_parts(fitting: RequestEditor, chat: ChatCapabilities, parts: list[object], where: str) -> list[object]:
    """`parts` without what cannot be taken; the same list where nothing changes."""
    kept: list[object] = []
    for position, part in enumerate(parts):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in chat.refused_parts or (kind == "image_url" and not chat.image_links and _is_link(part)):
            fitting.drop_or_reject(f"{where}[{position}].{kind}")
        elif kind == "input_audio" and chat.audio_as_text:
            kept.append({"type": "input_audio", "input_audio": _audio_text(part)})
        else:
            kept.append(part)
    if not kept and parts:
        raise bad_request(f"Without the parts that this provider cannot take, nothing is left of {where}.", where)
    return parts if len(kept) == len(parts) and all(a is b for a, b in zip(kept, parts, strict=True)) else kept


def _is_link(part: object) -> bool:
    image = as_object(part).get("image_url")
    url = image if isinstance(image, str) else as_object(image).get("url")
    return isinstance(url, str) and not url.startswith("data:")


def _audio_text(part: object) -> object:
    audio = as_object(part).get("input_audio")
    return audio.get("data") if isinstance(audio, dict) else audio
