"""Reads from a request's parsed body what planning has to know of it, where the request enters the system.

Every sender uses this one module: the ingress, the typed client and the command line. It looks at a bounded part of the body,
because it runs once per request in a process that serves others, and takes any JSON: the body's types may not have been
checked. Estimates are for choosing a model and for limits that are settled later; nobody is charged by them. Pure.
"""

from collections.abc import Mapping
from typing import Any

from keyferry.contracts.features import RequestFeatures
from keyferry.contracts.text import BIGINT_MAX

BYTES_PER_TOKEN = 4
"""OpenAI, "What are tokens and how to count them": a token is about four characters of English. Of other scripts a character
takes more bytes and more tokens. Names and punctuation of the JSON count as well, so the estimate is rather too high."""
IMAGE_TOKENS = 1600
"""Anthropic, "Vision": about 1,600 tokens for an image of the largest size that is not scaled down, (width x height) / 750.
OpenAI's "Images and vision" has 765 for 1024 x 1024 pixels in high detail, and Google's "Understand images" 258 a tile."""
LOW_DETAIL_IMAGE_TOKENS = 85
"""OpenAI, "Images and vision": an image with `detail: low`, whatever its size."""
AUDIO_BYTES_PER_TOKEN = 640
"""Google, "Understand audio": 32 tokens for a second. A second of MP3 at 128 kbit/s is 16,000 bytes, 21,000 in base64."""
FILE_BYTES_PER_TOKEN = 40
"""Anthropic, "PDF support": 1,500 to 3,000 tokens a page. A page of 60 KB is 80,000 bytes in base64."""
MAX_SCANNED_CHARACTERS = 2048
"""How much of the latest messages is searched for program code."""
MAX_REQUEST_CHARACTERS = 512
"""Where in a message its wish is expected."""
MAX_SCANNED_MESSAGES = 16
"""How many of the latest messages are searched for program code."""

_CHARACTERS = "`{}=<#;"
"""A text without any of these, and without a colon after a parenthesis, is searched no further."""
_SYNTAX = (
    "```", "):\n", ") {", "){", "=> {", ");\n", "();", "#include <", "#!/", " === ", " !== ", " += ", "(self", "const ", "let ",
    "std::", "diff --git ", " = [", " = {", "print(", "<?php", "public static",
)  # fmt: skip
"""Fixed texts, since a regular expression with as many alternatives takes ten times as long."""
_LIMITS = ("max_completion_tokens", "max_tokens")
_MAX_DIGITS = 20
_PHRASES = (
    "source code", "this code", "my code", "code review", "write code", "code that", "unit test",
    "a function that", "stack trace",
    "function in ", "python function", "python script", "shell script", "script that", "following script", "regular expression",
    "sql query", "refactor", "typescript", "javascript",
)  # fmt: skip
"""With which people ask for program code."""


def read_chat_features(document: Any, body_bytes: int) -> RequestFeatures:
    """Return the features of a chat completion body. `document` is the parsed body, `body_bytes` its length as sent."""
    if not isinstance(document, Mapping):
        return RequestFeatures()
    messages = document.get("messages")
    attachments = _Attachments()
    if isinstance(messages, list):
        for message in messages:
            content = message.get("content") if isinstance(message, Mapping) else None
            if isinstance(content, list):
                attachments.add(content)
    response_format = document.get("response_format")
    text_bytes = max(0, body_bytes - attachments.body_bytes)
    return RequestFeatures(
        input_tokens=text_bytes // BYTES_PER_TOKEN + attachments.tokens,
        max_output_tokens=_longest_answer(document),
        choices=_choices(document.get("n")),
        tools=bool(document.get("tools")) or bool(document.get("functions")),
        json_schema=isinstance(response_format, Mapping) and response_format.get("type") == "json_schema",
        images=attachments.image_count > 0,
        image_count=attachments.image_count,
        image_tokens=attachments.image_tokens,
        audio=attachments.audio or _speaks(document),
        priority=document.get("service_tier") == "priority",
        code=isinstance(messages, list) and _has_code(messages),
    )


def read_embedding_features(document: Any, body_bytes: int) -> RequestFeatures:
    """Return the features of an embeddings body: its input tokens, counted where it sends token ids."""
    texts = document.get("input") if isinstance(document, Mapping) else None
    if not isinstance(texts, list) or not texts or isinstance(texts[0], str):
        return RequestFeatures(input_tokens=body_bytes // BYTES_PER_TOKEN)
    if not all(isinstance(item, int | list) for item in texts):
        return RequestFeatures(input_tokens=body_bytes // BYTES_PER_TOKEN)
    return RequestFeatures(input_tokens=sum(len(item) if isinstance(item, list) else 1 for item in texts))


class _Attachments:
    """What the parts of all messages hold besides text."""

    def __init__(self) -> None:
        self.tokens = 0
        self.body_bytes = 0
        """Bytes of the body that are not text."""
        self.image_count = self.image_tokens = 0
        self.audio = False

    def add(self, parts: list[Any]) -> None:
        """Add the parts of one message."""
        for part in parts:
            kind = part.get("type") if isinstance(part, Mapping) else None
            if not isinstance(kind, str) or kind == "text":
                continue
            held = part.get(kind)
            if kind == "image_url":
                self._add_image(held)
            elif kind == "input_audio":
                self.audio = True
                self._add_data(held, "data", AUDIO_BYTES_PER_TOKEN)
            elif kind == "file":
                self._add_data(held, "file_data", FILE_BYTES_PER_TOKEN)

    def _add_image(self, image: Any) -> None:
        url = image.get("url") if isinstance(image, Mapping) else image
        low = isinstance(image, Mapping) and image.get("detail") == "low"
        self.body_bytes += len(url) if isinstance(url, str) else 0
        tokens = LOW_DETAIL_IMAGE_TOKENS if low else IMAGE_TOKENS
        self.image_count += 1
        self.image_tokens += tokens
        self.tokens += tokens

    def _add_data(self, held: Any, name: str, bytes_per_token: int) -> None:
        data = held.get(name) if isinstance(held, Mapping) else None
        if isinstance(data, str):
            self.body_bytes += len(data)
            self.tokens += len(data) // bytes_per_token


def _longest_answer(document: Mapping[str, Any]) -> int | None:
    """Return the larger limit where both names are used, since providers differ in which of them counts.

    None if one of them is no integer: what a provider makes of that is not known.
    """
    given = [document[name] for name in _LIMITS if document.get(name) is not None]
    limits = [_limit(value) for value in given]
    known = [each for each in limits if each is not None]
    return max(known) if known and len(known) == len(limits) else None


def _choices(value: Any) -> int:
    """Return how many answers are asked for: some providers also take numbers that are written in another way."""
    if isinstance(value, float | str):
        try:
            value = int(float(value[:_MAX_DIGITS] if isinstance(value, str) else value))
        except (ValueError, OverflowError):
            return 1
    return _limit(value) or 1


def _limit(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        return None
    return min(value, BIGINT_MAX)


def _speaks(document: Mapping[str, Any]) -> bool:
    """Return whether the answer shall be spoken."""
    modalities = document.get("modalities")
    return isinstance(modalities, list) and "audio" in modalities


def _has_code(messages: list[Any]) -> bool:
    """Return whether the latest messages show program code or ask for it. Instructions of the system do not count."""
    rest = MAX_SCANNED_CHARACTERS
    for message in messages[: -MAX_SCANNED_MESSAGES - 1 : -1]:
        if not isinstance(message, Mapping) or message.get("role") in ("system", "developer"):
            continue
        content = message.get("content")
        for part in content if isinstance(content, list) else (content,):
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str) and text:
                if shows_code(text[:rest]):
                    return True
                rest -= len(text)
                if rest <= 0:
                    return False
    return False


def shows_code(text: str) -> bool:
    """Return whether a text has program code or asks for it: a fenced block, typical syntax, or a typical request."""
    unusual = any(character in text for character in _CHARACTERS) or "):" in text
    if unusual and any(marker in text for marker in _SYNTAX):
        return True
    if ("SELECT " in text and " FROM " in text) or "Traceback (most recent call last)" in text:
        return True
    lowered = text[:MAX_REQUEST_CHARACTERS].lower()
    return any(phrase in lowered for phrase in _PHRASES)
