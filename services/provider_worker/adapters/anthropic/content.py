"""Translates parts of OpenAI messages to Anthropic's content blocks.

Source: the content blocks of Anthropic's Messages API reference. `cache_control` beside a part is Anthropic's own and
is kept.
"""

import base64
import binascii
import re

from services.provider_worker.adapters.anthropic.unsupported import UnsupportedFields, bad_field
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[^,;]*)*),", re.IGNORECASE)


class ContentTranslator:
    """Translates the content of messages; what Anthropic does not support is reported to `unsupported`."""

    def __init__(self, unsupported: UnsupportedFields) -> None:
        self._unsupported = unsupported

    def translate(self, content: object, field: str, *, text_only: bool = False) -> list[JsonObject]:
        """Return the blocks for `content`, a string or a list of parts, found at `field`. Blank texts are left out.

        Raises RefusedByAdapter.
        """
        if content is None:
            return []
        if isinstance(content, str):
            return [text_block(content)] if content.strip() else []
        if not isinstance(content, list):
            raise bad_field(field, f"`{field}` must be a string or a list of content parts.")
        blocks: list[JsonObject] = []
        for position, part in enumerate(content):
            block = self._translate_part(part, f"{field}[{position}]", text_only=text_only)
            if block is not None:
                blocks.append(block)
            elif blocks and as_object(part).get("cache_control") is not None:
                # A blank text ends the prefix to cache as well as the block before it does.
                blocks[-1].setdefault("cache_control", as_object(part)["cache_control"])
        return blocks

    def _translate_part(self, part: object, field: str, *, text_only: bool) -> JsonObject | None:
        if isinstance(part, str):
            return text_block(part) if part.strip() else None
        if not isinstance(part, dict):
            raise bad_field(field, f"`{field}` must be a content part: an object with a `type`.")
        block = self._translate_typed_part(part, field, text_only=text_only)
        if block is not None and part.get("cache_control") is not None:
            block["cache_control"] = part["cache_control"]
        return block

    def _translate_typed_part(self, part: JsonObject, field: str, *, text_only: bool) -> JsonObject | None:
        kind = part.get("type")
        if kind in ("text", "refusal"):
            text = as_text(part.get(str(kind)))
            return text_block(text) if text.strip() else None
        if kind == "image_url" and not text_only:
            return self._translate_image(part, field)
        if kind == "file" and not text_only:
            return self._translate_file(as_object(part.get("file")), field)
        here = " in this message" if text_only else ""
        self._unsupported.drop_or_reject(field, f"Anthropic cannot read a content part of type {kind!r}{here}.")
        return None

    def _translate_image(self, part: JsonObject, field: str) -> JsonObject:
        image = part.get("image_url")
        url = image if isinstance(image, str) else as_text(as_object(image).get("url"))
        if as_object(image).get("detail") not in (None, "auto", "high"):
            self._unsupported.drop_or_reject(
                f"{field}.image_url.detail", "Anthropic always reads images in full detail."
            )
        if url.startswith("https://"):
            return {"type": "image", "source": {"type": "url", "url": url}}
        media_type, data = _parse_data_url(url, f"{field}.image_url.url")
        if media_type == "image/jpg":
            media_type = "image/jpeg"
        if media_type not in _IMAGE_TYPES:
            raise bad_field(
                f"{field}.image_url.url",
                f"Anthropic reads JPEG, PNG, GIF and WebP images, not {media_type!r}; convert the image.",
            )
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}

    def _translate_file(self, file: JsonObject, field: str) -> JsonObject | None:
        file_data = as_text(file.get("file_data"))
        if not file_data:
            self._unsupported.drop_or_reject(f"{field}.file", "Anthropic needs the file itself, in `file_data`.")
            return None
        block: JsonObject = {"type": "document", "source": _translate_file_data(file_data, f"{field}.file.file_data")}
        if as_text(file.get("filename")):
            block["title"] = file["filename"]
        return block


def text_block(text: str) -> JsonObject:
    """Build a block of text."""
    return {"type": "text", "text": text}


def _translate_file_data(file_data: str, field: str) -> JsonObject:
    if file_data.startswith("https://"):
        return {"type": "url", "url": file_data}
    media_type, data = _parse_data_url(file_data, field)
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    if media_type.startswith("text/"):
        try:
            text = base64.b64decode(data, validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            raise bad_field(field, f"`{field}` is not base64 of UTF-8 text.") from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise bad_field(field, f"Anthropic reads PDF and plain text files, not {media_type!r}; convert the file.")


def _parse_data_url(url: str, field: str) -> tuple[str, str]:
    """Return media type and base64 text of a data URL. Raises RefusedByAdapter."""
    head = _DATA_URL.match(url)
    if head is None or ";base64" not in (head[2] or "").lower():
        raise bad_field(
            field, f"`{field}` must be an https URL or a data URL with base64 (`data:<type>;base64,<data>`)."
        )
    return (head[1] or "text/plain").lower(), url[head.end() :]
