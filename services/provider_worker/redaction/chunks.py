"""Redacts the JSON that a response becomes: whole answers, and the chunks of a stream with their texts joined. Pure."""

import re
from collections.abc import Iterable, Iterator

import orjson

from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, parse_object, render
from services.provider_worker.redaction.escapes import EscapeBudget
from services.provider_worker.redaction.joined_text import JoinedText, segments
from services.provider_worker.redaction.secret_forms import SEGMENT_CHARACTERS, SecretForms

_ESCAPES = (
    ("%", re.compile(r"%[0-9A-Fa-f]{2}")),
    ("&", re.compile(r"&(?:#|[A-Za-z]{2,8};)")),
    ("\\", re.compile(r"\\(?:u00|u200|u202|u206|ufeff|x|/|\\)")),
)
"""Three, since the search for one that begins with a single character is many times as fast."""
_NOT_JOINED = frozenset({"role", "type", "id", "index", "format"})
"""Members of a delta that are whole in each chunk; every other text goes on in the next one."""
_ONE_TEXT = re.compile(rb'"delta": ?\{(?:"\w+": ?null, ?)*"(\w+)": ?"')
"""Cannot be in a text, where each quotation mark follows a backslash."""
_STRING = re.compile(rb'(?:[^"\\]|\\.)*')
_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_PADDING = b'"obfuscation":"'
"""OpenAI ends each chunk with this and a few characters by chance, against the guessing of texts from their lengths."""
_LOG_PROBABILITIES = re.compile(rb'"logprobs": ?[^n ]')
_MAX_DEPTH = 8
_MAX_TEXTS = 1024
"""So many texts of one stream are looked at across its chunks: OpenAI's largest `n` with a few texts each."""

_Path = tuple[str | int, ...]


class JsonRedactor:
    """Redacts JSON texts. `found` says whether a secret was in any."""

    def __init__(self, forms: SecretForms) -> None:
        self.found = False
        self.budget = EscapeBudget()
        self._forms = forms

    def redact(self, text: bytes) -> bytes:
        """Return a JSON object without secrets; `text` itself if it has none."""
        if not self.may_hold(text):
            return text
        document = parse_object(text)
        if document is None:
            return self._redact_raw(text)
        try:
            changed = self.redact_in_place(document) or self._is_dropped_from(text, document)
            return render(document) if changed else text
        except ValueError:  # nested too deeply to be rendered
            return self._redact_raw(text)

    def redact_in_place(self, document: JsonObject) -> bool:
        """Redact all names and texts in `document`; return whether any had a secret."""
        changed = False
        waiting: list[object] = [document]
        while waiting:
            container = waiting.pop()
            if isinstance(container, dict):
                changed = self._redact_object(container) or changed
                waiting += (value for value in container.values() if isinstance(value, dict | list))
            elif isinstance(container, list):
                changed = self._redact_list(container) or changed
                waiting += (value for value in container if isinstance(value, dict | list))
        if changed:
            self.found = True
            for choice in as_objects(document.get("choices")):
                _drop_log_probabilities(choice)
        return changed

    def may_hold(self, text: bytes) -> bool:
        """Return whether JSON may hold a secret: false only if it holds none."""
        searched = text.decode("latin-1")  # a search in a string takes a quarter of the time of one in bytes
        for block in self._forms.blocks:
            if block in searched:
                return True
        for begins, escape in _ESCAPES:
            if begins in searched and escape.search(searched) is not None:
                return True
        return self._forms.quoted and "\\" in searched

    def _is_dropped_from(self, text: bytes, document: JsonObject) -> bool:
        """Return whether parsing dropped a secret: of members with the same name only the last one is in a document."""
        if _STRINGS.sub(b"", text).count(b":") <= _count_members(document):
            return False
        raw = text.decode("latin-1")
        dropped = self._redact_text(raw) != raw
        self.found = self.found or dropped
        return dropped

    def _redact_object(self, members: JsonObject) -> bool:
        changed = False
        for name, value in list(members.items()):
            if isinstance(value, str) and (clean := self._redact_text(value)) != value:
                members[name] = clean
                changed = True
            if (clean := self._redact_text(name)) != name:
                members[clean] = members.pop(name)
                changed = True
        return changed

    def _redact_list(self, items: list[object]) -> bool:
        changed = False
        for place, value in enumerate(items):
            if isinstance(value, str) and (clean := self._redact_text(value)) != value:
                items[place] = clean
                changed = True
        return changed

    def _redact_text(self, text: str) -> str:
        if len(text) <= SEGMENT_CHARACTERS:
            return self._forms.redact(text, escaped=self.budget.take(text))
        joined = JoinedText(self._forms, self.budget)
        passed = map(joined.feed, segments(text))
        parts = [self._forms.redact(part, escaped=self.budget.take(part)) for part in passed]
        return "".join((*parts, joined.flush()))

    def _redact_raw(self, text: bytes) -> bytes:
        clean = self._redact_text(text.decode("latin-1")).encode("latin-1")
        self.found = self.found or clean != text
        return clean


class ChunkRedactor:
    """Redacts the chunks of one stream, in order: each chunk, and each text of each choice across chunks."""

    def __init__(self, forms: SecretForms, json: JsonRedactor) -> None:
        self._forms = forms
        self._json = json
        self._texts: dict[tuple[int, _Path], JoinedText] = {}
        self._envelope: JsonObject = {}
        self._before = b""
        """How a chunk begins that holds nothing but a piece of `_text`; empty while none is known."""
        self._after = b""
        """How the last of them went on behind its text, up to its padding."""
        self._text = JoinedText(forms, json.budget)

    def redact(self, text: bytes) -> bytes:
        """Return the chunk without secrets, and without the end of a text with which one may begin."""
        before = self._before
        if before and text.startswith(before):
            content, end = _read_text(text, len(before))
            after = text[end:]
            if len(content) < self._forms.shortest and (self._is_padding_other(after) or self._is_plain_end(after)):
                clean = self._text.feed(content)
                if clean is content or clean == content:
                    return text
                self._note(parse_object(text) or {}, self._text)
                return before + orjson.dumps(clean)[1:-1] + after
        return self._redact_any(text)

    def _is_padding_other(self, after: bytes) -> bool:
        """Return whether a chunk ends like the one before, but for its padding, which is too short for a key."""
        known = self._after
        return known != b"" and after.startswith(known) and len(after) - len(known) <= self._forms.shortest

    def _is_plain_end(self, after: bytes) -> bool:
        """Return whether a chunk that ends like this holds nothing more to look at than its one text."""
        others = b'"delta"' in after or _LOG_PROBABILITIES.search(after) is not None
        if after[:2] != b'"}' or others or self._json.may_hold(after):
            return False
        same, padding, _ = after.partition(_PADDING)
        self._after = same + padding
        return True

    def _redact_any(self, text: bytes) -> bytes:
        chunk = parse_object(text)
        if chunk is None:
            return self._json.redact(text)
        changed = False
        choices = as_objects(chunk.get("choices"))
        for choice in choices:
            changed = self._redact_choice(chunk, choice) or changed
        # After the joined texts: what is left of a key of which three quarters are replaced could not be recognised.
        clean = self._json.redact(self._render(chunk) if changed else text)
        if clean is text and len(choices) == 1:
            self._learn(text, choices[0])
        return clean

    def _render(self, chunk: JsonObject) -> bytes:
        try:
            return render(chunk)
        except ValueError:  # nested too deeply: what is known of it cannot be sent without the rest
            return render({**self._envelope, "choices": []})

    def _learn(self, text: bytes, choice: JsonObject) -> None:
        """Note how a chunk begins that holds a piece of one text alone: most chunks begin like the one before."""
        delta, index, match = choice.get("delta"), choice.get("index"), _ONE_TEXT.search(text)
        if match is None or not isinstance(delta, dict) or not isinstance(index, int):
            return
        name = match[1].decode()
        joined = self._texts.get((index, (name,)))
        alone = all(value is None for other, value in delta.items() if other != name)
        if joined is not None and alone and b'"delta"' not in text[match.end() :]:
            self._before, self._text = text[: match.end()], joined

    def flush(self) -> list[bytes]:
        """Return what is held back at the end of the stream, in chunks."""
        return [
            render(self._envelope | {"choices": [{"index": index, "delta": delta, "finish_reason": None}]})
            for index in sorted({index for index, _ in self._texts})
            if (delta := self._flush_choice(index))
        ]

    def _redact_choice(self, chunk: JsonObject, choice: JsonObject) -> bool:
        raw_index = choice.get("index")
        index = raw_index if isinstance(raw_index, int) else 0
        delta = as_object(choice.get("delta"))
        changed = False
        for path, container, name in _texts_of(delta):
            piece = str(container[name])
            joined = self._texts.get((index, path))
            if joined is None:
                if len(self._texts) >= _MAX_TEXTS:
                    continue
                joined = self._texts[index, path] = JoinedText(self._forms, self._json.budget)
            clean = joined.feed(piece)
            if clean != piece:
                container[name] = clean
                changed = True
                self._note(chunk, joined)
        if changed:
            _drop_log_probabilities(choice)
        return changed

    def _note(self, chunk: JsonObject, joined: JoinedText) -> None:
        """Note that a text of `chunk` was changed."""
        self._json.found = self._json.found or joined.found
        self._envelope = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}

    def _flush_choice(self, index: int) -> JsonObject:
        """Return the delta of what a choice's texts hold back. Not at its finish reason, which some providers repeat."""
        delta: JsonObject = {}
        for (of, path), joined in self._texts.items():
            if of == index and joined.holds:
                _set(delta, path, joined.flush())
                self._json.found = self._json.found or joined.found
        return delta


def _read_text(text: bytes, start: int) -> tuple[str, int]:
    """Return the JSON string that begins at `start`, without its quotation marks, and where it ends; empty for an invalid one."""
    end = text.find(b'"', start)
    content = text[start:end]
    if b"\\" not in content:
        return content.decode(), end
    rest = _STRING.match(text, start)
    end = start if rest is None else rest.end()
    try:
        return str(orjson.loads(text[start - 1 : end + 1])), end
    except ValueError:  # a surrogate alone
        return "", start


def _count_members(document: JsonObject) -> int:
    """Return how many members the objects in `document` have, itself included."""
    count = 0
    waiting: list[object] = [document]
    while waiting:
        container = waiting.pop()
        values: Iterable[object] = ()
        if isinstance(container, dict):
            count += len(container)
            values = container.values()
        elif isinstance(container, list):
            values = container
        waiting += (value for value in values if isinstance(value, dict | list))
    return count


def _drop_log_probabilities(choice: JsonObject) -> None:
    """Remove the log probabilities of a choice: they repeat its text, token by token and byte by byte."""
    if choice.get("logprobs") is not None:
        del choice["logprobs"]


def _texts_of(delta: JsonObject, path: _Path = ()) -> Iterator[tuple[_Path, JsonObject, str]]:
    """Yield (path, object, name) of every text of a delta that other chunks may continue."""
    for name, value in delta.items():
        if isinstance(value, str):
            if name not in _NOT_JOINED:
                yield (*path, name), delta, name
        elif isinstance(value, dict) and len(path) < _MAX_DEPTH:
            yield from _texts_of(value, (*path, name))
        elif isinstance(value, list) and len(path) < _MAX_DEPTH:
            for place, item in enumerate(value):
                if isinstance(item, dict):
                    index = item.get("index")
                    yield from _texts_of(item, (*path, name, index if isinstance(index, int) else place))


def _set(delta: JsonObject, path: _Path, text: str) -> None:
    """Set the text at `path` in a delta, with all that it is in."""
    container = delta
    for at, step in enumerate(path[:-1]):
        following = path[at + 1]
        if isinstance(step, int):
            continue
        inner = container.setdefault(step, [] if isinstance(following, int) else {})
        if isinstance(inner, list):
            same = (item for item in as_objects(inner) if item.get("index") == following)
            inner = next(same, None) or _add(inner, following)
        container = as_object(inner)
    container[str(path[-1])] = text


def _add(items: list[object], index: str | int) -> JsonObject:
    item: JsonObject = {"index": index}
    items.append(item)
    return item
