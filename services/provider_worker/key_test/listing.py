"""Reads the model lists of providers, and picks a model to try a chat with.

Nothing here raises for what a provider sends. Three shapes are in use: OpenAI's `{"data": [{"id"}]}`, Google's and
Cohere's `{"models": [{"name"}]}`, and a bare list. Pure.
"""

import re
from dataclasses import dataclass

from services.provider_worker.adapters.response.json_text import JsonObject, as_object, parse_object

MAX_MODELS = 2000
"""The limit of `KeyTest.models`."""
MAX_LIST_BYTES = 4 * 1024 * 1024
"""The largest list that was seen, OpenRouter's, has less than a quarter of it."""
_NAME = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
_NO_CHAT = re.compile(
    r"embed|whisper|tts|dall-?e|image|moderation|rerank|audio|realtime|transcri|davinci|babbage|guard|ocr|video|veo-|sora|imagen"
    r"|flux|diffusion|speech|safety|translate|search|codex|instruct-\d{4}\Z|aqa\b",
    re.IGNORECASE,
)
"""In names of models that do not chat; it only orders the candidates, so a false match does no harm."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of a list. `chats` is null if the list does not say whether it supports chat."""

    name: str
    chats: bool | None = None


def read_models(body: bytes) -> list[ListedModel] | None:
    """Return the models that a list names, at most MAX_MODELS, each once; null if `body` is not a list of models."""
    if len(body) > MAX_LIST_BYTES:
        return None
    text = body.strip()
    document = parse_object(b'{"data":' + text + b"}" if text.startswith(b"[") else text) or {}
    entries = next((found for name in ("data", "models") if isinstance(found := document.get(name), list)), None)
    if entries is None:
        return None
    models: dict[str, ListedModel] = {}
    for entry in entries:
        if len(models) >= MAX_MODELS:
            break
        if (model := _read_model(entry)) is not None:
            models.setdefault(model.name, model)
    return list(models.values())


def first_chat_model(models: list[ListedModel]) -> str | None:
    """Return the first model that declares chat support, else the first whose name does not suggest otherwise."""
    declared = next((model.name for model in models if model.chats), None)
    return declared or next(
        (model.name for model in models if model.chats is None and not _NO_CHAT.search(model.name)), None
    )


def _read_model(entry: object) -> ListedModel | None:
    if isinstance(entry, str):
        return ListedModel(entry) if _NAME.fullmatch(entry) else None
    fields = as_object(entry)
    for key in ("id", "name"):
        name = fields.get(key)
        if isinstance(name, str) and _NAME.fullmatch(name.removeprefix("models/")):
            return ListedModel(name.removeprefix("models/"), _takes_chats(fields))
    return None


def _takes_chats(fields: JsonObject) -> bool | None:
    """Return what Google, Cohere, Mistral and Together declare about a model, each in a field of its own."""
    for key, word in (("supportedGenerationMethods", "generateContent"), ("endpoints", "chat")):
        methods = fields.get(key)
        if isinstance(methods, list):
            return word in methods
    capability = as_object(fields.get("capabilities")).get("completion_chat")
    if isinstance(capability, bool):
        return capability
    kind = fields.get("type")
    return (
        kind == "chat" if kind in ("chat", "language", "code", "image", "embedding", "moderation", "rerank") else None
    )
