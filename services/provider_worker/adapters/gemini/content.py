"""Translates OpenAI content parts to Gemini parts: text, images, audio, video and files, inline or by URL."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.provider_worker.adapters.gemini.unsupported import bad_field
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)((?:;[\w=.+-]+)*);base64,", re.IGNORECASE)

_TYPE_BY_ENDING = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "bmp": "image/bmp",
    "wav": "audio/wav", "mp3": "audio/mp3", "aac": "audio/aac", "flac": "audio/flac", "ogg": "audio/ogg",
    "aiff": "audio/aiff", "m4a": "audio/m4a",
    "mp4": "video/mp4", "mov": "video/mov", "webm": "video/webm", "mpeg": "video/mpeg", "avi": "video/avi",
    "pdf": "application/pdf", "txt": "text/plain", "md": "text/md", "csv": "text/csv", "html": "text/html",
    "json": "application/json", "xml": "text/xml",
}  # fmt: skip
"""Media types of the Gemini API's documentation by file ending; Python's own table depends on the machine."""

_AUDIO_FORMATS = frozenset({"wav", "mp3", "aac", "flac", "ogg", "aiff", "m4a"})


@dataclass(frozen=True, slots=True)
class MediaRules:
    """How Google's two APIs differ in media."""

    needs_media_type: bool
    """Whether a URL needs its media type beside it (Vertex)."""
    files_url: str | None
    """Base URL of uploaded files (`files/…`); null if there are none (Vertex reads from Cloud Storage)."""
    takes_call_ids: bool = True
    """Whether calls and their results may carry an `id`; Vertex answers "Unknown name \"id\"" to one."""


def read_text(content: object, param: str) -> str:
    """Return the text of a message's `content`, a string or a list of text parts. Raises RefusedByAdapter."""
    return "".join(read_texts(content, param))


def read_texts(content: object, param: str) -> list[str]:
    """Return the texts of a message's `content`, a string or a list of text parts. Raises RefusedByAdapter."""
    if content is None or isinstance(content, str):
        return [content] if content else []
    if not isinstance(content, list):
        raise bad_field(param, "it must be a string or a list of parts.")
    texts: list[str] = []
    for position, part in enumerate(content):
        kind = as_object(part).get("type")
        if kind not in ("text", "refusal"):
            raise bad_field(f"{param}[{position}].type", "only text is possible in this role.")
        texts.append(as_text(as_object(part).get(str(kind))))
    return texts


def translate_parts(content: object, param: str, rules: MediaRules) -> list[JsonObject]:
    """Translate a user's `content`. Raises RefusedByAdapter naming the part that Gemini does not support."""
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, list):
        raise bad_field(param, "it must be a string or a list of parts.")
    return [translate_part(as_object(part), f"{param}[{position}]", rules) for position, part in enumerate(content)]


def is_blank(part: JsonObject) -> bool:
    """Return whether a part is nothing but blank text, which Google rejects unless it carries a signature."""
    return part.keys() == {"text"} and not as_text(part["text"]).strip()


def translate_part(part: JsonObject, param: str, rules: MediaRules) -> JsonObject:
    """Translate one part. Raises RefusedByAdapter."""
    kind = part.get("type")
    match kind:
        case "text":
            return {"text": as_text(part.get("text"))}
        case "image_url" | "video_url":
            value = part.get(kind)
            url = value if isinstance(value, str) else as_object(value).get("url")
            return _translate_url(as_text(url), f"{param}.{kind}.url", rules)
        case "input_audio":
            return _translate_audio(as_object(part.get("input_audio")), f"{param}.input_audio")
        case "file":
            return _translate_file(as_object(part.get("file")), f"{param}.file", rules)
    raise bad_field(f"{param}.type", "it must be text, image_url, video_url, input_audio or file.")


def _translate_url(url: str, param: str, rules: MediaRules) -> JsonObject:
    inline = _DATA_URL.match(url[:400])
    if inline:
        # Gemini's MIME type has no parameters (`;charset=utf-8`).
        return {"inlineData": {"mimeType": inline[1].lower(), "data": url[inline.end() :]}}
    try:
        address = urlsplit(url)
    except ValueError:
        raise bad_field(param, "it is no valid URL.") from None
    if address.scheme not in ("https", "http", "gs"):
        raise bad_field(param, "it must be a data URL with base64, or an https (for Vertex also gs) address.")
    media_type = _TYPE_BY_ENDING.get(address.path.rpartition(".")[2].lower())
    if media_type is None and rules.needs_media_type:
        raise bad_field(
            param, "Vertex needs the media type, and the address has no known ending; send the file as a data URL."
        )
    return {"fileData": {"fileUri": url} | ({"mimeType": media_type} if media_type else {})}


def _translate_audio(audio: JsonObject, param: str) -> JsonObject:
    audio_format = as_text(audio.get("format")).lower()
    if audio_format not in _AUDIO_FORMATS:
        raise bad_field(f"{param}.format", f"it must be one of {', '.join(sorted(_AUDIO_FORMATS))}.")
    return {"inlineData": {"mimeType": _TYPE_BY_ENDING[audio_format], "data": as_text(audio.get("data"))}}


def _translate_file(file: JsonObject, param: str, rules: MediaRules) -> JsonObject:
    # The file name is dropped: Gemini takes one only beside built-in tools.
    file_id, data = as_text(file.get("file_id")), as_text(file.get("file_data"))
    if file_id.startswith("files/") and rules.files_url:
        return {"fileData": {"fileUri": f"{rules.files_url}/{file_id}"}}
    if file_id:
        if not file_id.startswith(("https://", "gs://")):
            raise bad_field(
                f"{param}.file_id", "Gemini knows only its own files (`files/…`) and addresses; send `file_data`."
            )
        return (
            {"fileData": {"fileUri": file_id}} if not rules.needs_media_type else _translate_url(file_id, param, rules)
        )
    if data.startswith("data:"):
        return _translate_url(data, f"{param}.file_data", rules)
    media_type = _TYPE_BY_ENDING.get(as_text(file.get("filename")).rpartition(".")[2].lower())
    if not data or media_type is None:
        raise bad_field(
            f"{param}.file_data", "it must be a data URL with base64, or base64 beside a `filename` with an ending."
        )
    return {"inlineData": {"mimeType": media_type, "data": data}}
