"""Translates the parts of the caller's messages to Converse's content blocks.

Images, documents and audio are sent as bytes only: Converse fetches nothing but objects of the account's own S3
buckets. Source of the formats: the AWS API reference, ContentBlock, ImageBlock, DocumentBlock, AudioBlock and
CachePointBlock.
"""

import re
from collections.abc import Mapping

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.openai_format.messages import Media, parse_data_url, read_parts
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

_IMAGES: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
_DOCUMENTS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
_AUDIO = frozenset(
    {
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm",
    }
)  # fmt: skip
_NAME = re.compile(r"[^\w \-()\[\]]|_", re.ASCII)
DOCUMENT_TEXT = "(see the attached document)"
"""Stands beside a document that came without text: "A text block must be included when using documents"."""
_MAX_NAME_CHARACTERS = 190
"""Ten below Bedrock's limit, for a number if two documents have the same name."""


class ContentTranslator:
    """Translates the parts of one request; the names of its documents have to be unique."""

    def __init__(self, fields: CallerFields) -> None:
        self._fields = fields
        self._names: set[str] = set()

    def translate(self, path: str, content: object) -> list[JsonObject]:
        """Return the blocks for a message's content. Raises RefusedByAdapter for parts that Bedrock does not support.

        Empty texts are left out: Bedrock rejects them, and they carry nothing.
        """
        blocks: list[JsonObject] = []
        for place, kind, part in read_parts(path, content):
            block = self._translate_part(place, kind, part)
            if block is not None:
                blocks.append(block)
                blocks += cache_points(place, part)
        return blocks

    def _translate_part(self, place: str, kind: str, part: JsonObject) -> JsonObject | None:
        if kind in ("text", "refusal"):
            text = as_text(part.get(kind))
            return {"text": text} if text.strip() else None
        if kind == "image_url":
            return self._translate_image(place, part)
        if kind == "file":
            return self._translate_file(place, as_object(part.get("file")))
        if kind == "input_audio":
            audio = as_object(part.get("input_audio"))
            if not as_text(audio.get("data")) or audio.get("format") not in _AUDIO:
                known = ", ".join(sorted(_AUDIO))
                field = f"{place}.input_audio"
                raise bad_request(f"`{field}` must have `data` in base64 and a `format` of: {known}.", field)
            return {"audio": {"format": audio["format"], "source": {"bytes": audio["data"]}}}
        raise bad_request(f"AWS Bedrock does not support content parts of this type: `{place}.type`.", f"{place}.type")

    def _translate_image(self, place: str, part: JsonObject) -> JsonObject:
        value = part.get("image_url")
        image = as_object(value) or {"url": value}
        if image.get("detail") not in (None, "auto"):
            self._fields.drop_or_reject(f"{place}.image_url.detail")
        media = parse_data_url(image.get("url"))
        if media is None:
            raise bad_request(
                "AWS Bedrock takes images as bytes only; send this one as a `data:` URL with base64.",
                f"{place}.image_url.url",
            )
        return {"image": {"format": _find_format(media, _IMAGES, "image", place), "source": {"bytes": media.base64}}}

    def _translate_file(self, place: str, file: JsonObject) -> JsonObject:
        media = parse_data_url(file.get("file_data"))
        if media is None:
            raise bad_request(
                "AWS Bedrock takes files as bytes only; send this one as `file_data` with a `data:` URL in base64.",
                f"{place}.file.file_data",
            )
        return {
            "document": {
                "format": _find_format(media, _DOCUMENTS, "file", place),
                "name": self._unique_name(as_text(file.get("filename"))),
                "source": {"bytes": media.base64},
            }
        }

    def _unique_name(self, filename: str) -> str:
        """Return a unique name that Bedrock accepts: letters, digits, single spaces, hyphens, brackets."""
        stem = filename.rpartition(".")[0] or filename
        name = " ".join(_NAME.sub(" ", stem).split())[:_MAX_NAME_CHARACTERS] or "document"
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name} ({number})"
        self._names.add(unique)
        return unique


def with_document_text(blocks: list[JsonObject]) -> list[JsonObject]:
    """Return `blocks` with a text beside a document, which Bedrock takes only with one."""
    if any("document" in block for block in blocks) and not any("text" in block for block in blocks):
        return [{"text": DOCUMENT_TEXT}, *blocks]
    return blocks


def cache_points(place: str, part: JsonObject) -> list[JsonObject]:
    """Return the cache point after a part or tool with `cache_control`, Anthropic's field for it.

    Raises RefusedByAdapter.
    """
    control = part.get("cache_control")
    if not control:
        return []
    ttl = as_object(control).get("ttl")
    if as_object(control).get("type") != "ephemeral" or ttl not in (None, "5m", "1h"):
        raise bad_request(
            f"`{place}.cache_control` must be of type `ephemeral`, with a `ttl` of `5m` or `1h` or none.",
            f"{place}.cache_control",
        )
    return [{"cachePoint": {"type": "default"} | ({} if ttl is None else {"ttl": ttl})}]


def _find_format(media: Media, formats: Mapping[str, str], what: str, place: str) -> str:
    known = formats.get(media.media_type)
    if known is None:
        raise bad_request(
            f"AWS Bedrock takes no {what} of this media type; it takes: {', '.join(sorted(set(formats.values())))}.",
            place,
        )
    return known
