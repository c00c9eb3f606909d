"""Parses the caller's conversation into the parts that providers' requests are built of.

Source of the shapes: the OpenAI API reference, "Create chat completion", `messages`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.provider_worker.adapters.adapter import bad_request
from services.provider_worker.adapters.openai_format.fields import CallerFields
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text, parse_object

ROLES = ("system", "developer", "user", "assistant", "tool")
_DATA_URL = re.compile(r"data:([\w.+/-]+)(?:;[\w.+-]+=[^;,]*)*;base64,", re.ASCII)


@dataclass(frozen=True, slots=True)
class Media:
    """Bytes inside the request: their media type in lower case, and the bytes in base64."""

    media_type: str
    base64: str


@dataclass(frozen=True, slots=True)
class RequestToolCall:
    """A tool call of an earlier turn; `arguments` is the text of a JSON object."""

    id: str
    name: str
    arguments: str

    @property
    def arguments_object(self) -> JsonObject | None:
        """The arguments, parsed; null if they are not a JSON object. Missing arguments are an empty object."""
        return parse_object(self.arguments.encode("utf-8", "surrogatepass")) if self.arguments.strip() else {}


def read_messages(fields: CallerFields) -> list[tuple[str, JsonObject]]:
    """Return each message with its path (`messages[0]`).

    Raises RefusedByAdapter if there are none, or one has an unknown role.
    """
    messages = fields.take("messages")
    if not isinstance(messages, list):
        raise bad_request("`messages` must be a list with at least one message.", "messages")
    found: list[tuple[str, JsonObject]] = []
    for path, message in zip(fields.message_paths, messages, strict=True):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise bad_request(f"`{path}` must be an object whose role is one of: {', '.join(ROLES)}.", f"{path}.role")
        if message.get("name") and message["role"] != "tool":
            fields.drop_or_reject(f"{path}.name")
        found.append((path, message))
    return found


def read_parts(path: str, content: object) -> Iterator[tuple[str, str, JsonObject]]:
    """Yield the parts of a message's content as (path, type, part); a string is one `text` part.

    Raises RefusedByAdapter.
    """
    if content is None:
        return
    if isinstance(content, str):
        yield f"{path}.content", "text", {"type": "text", "text": content}
        return
    if not isinstance(content, list):
        raise bad_request(f"`{path}.content` must be a text or a list of parts.", f"{path}.content")
    for position, part in enumerate(content):
        place = f"{path}.content[{position}]"
        if isinstance(part, str):
            yield place, "text", {"type": "text", "text": part}
        elif isinstance(part, dict) and isinstance(part.get("type"), str):
            yield place, part["type"], part
        else:
            raise bad_request(f"`{place}` must be an object with a type.", place)


def read_text(path: str, content: object) -> str:
    """Return the text of a content that must be only text. Raises RefusedByAdapter."""
    texts: list[str] = []
    for place, kind, part in read_parts(path, content):
        if kind not in ("text", "refusal"):
            raise bad_request(f"`{place}` must be a text part.", place)
        texts.append(as_text(part.get(kind)))
    return "".join(texts)


def read_tool_calls(path: str, message: JsonObject) -> list[RequestToolCall]:
    """Return the tool calls of an assistant's message.

    Raises RefusedByAdapter if one is not a function call with an id.
    """
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise bad_request(f"`{path}.tool_calls` must be a list.", f"{path}.tool_calls")
    found: list[RequestToolCall] = []
    for position, call in enumerate(calls):
        place = f"{path}.tool_calls[{position}]"
        function = as_object(as_object(call).get("function"))
        call_id, name = as_text(as_object(call).get("id")), as_text(function.get("name"))
        if not call_id or not name:
            raise bad_request(f"`{place}` must be a function call with an id and a name.", place)
        parsed = RequestToolCall(call_id, name, as_text(function.get("arguments")))
        if parsed.arguments_object is None:
            raise bad_request(
                f"`{place}.function.arguments` is not the text of a JSON object; repair it or leave the call out.",
                f"{place}.function.arguments",
            )
        found.append(parsed)
    return found


def parse_data_url(url: object) -> Media | None:
    """Return the content of a base64 `data:` URL, or null if `url` is not one."""
    match = _DATA_URL.match(url) if isinstance(url, str) else None
    if match is None or not isinstance(url, str):
        return None
    return Media(match.group(1).lower(), "".join(url[match.end() :].split()))


def read_reasoning_details(message: JsonObject, formats: frozenset[str]) -> list[JsonObject]:
    """Return the entries of an echoed message's `reasoning_details` that have one of these formats, or none.

    Those of other providers are left out: their signatures are meaningless to this one.
    """
    details = message.get("reasoning_details")
    entries = [entry for entry in details if isinstance(entry, dict)] if isinstance(details, list) else []
    return [entry for entry in entries if entry.get("format") is None or as_text(entry.get("format")) in formats]
