"""Keeps the arguments of a tool call one JSON object, however a provider repeats or decorates it.

Callers join the pieces of a stream themselves, so what follows a complete object must not reach them: providers send it
again whole, or quotes, or the empty object before the real one. Only an object is ever complete: `1` may go on with `2`.
Others send all of the arguments until now with every piece; what the caller has already is taken off then. Others write
the object as a text in JSON, which is read.
"""

import re

import orjson

from services.provider_worker.adapters.response.json_text import parse_object

_MARK = re.compile(r'\\(?:.|\Z)|["{}]', re.DOTALL)
"""What matters to the nesting of braces: an escape, perhaps cut off by the end of the piece; a quote; a brace."""
_BRACKET = re.compile(r'\\(?:.|\Z)|["{}\[\]]', re.DOTALL)
_MOST_KEPT = 1 << 18
"""Characters of arguments within which a piece that repeats those before it is recognised."""
_EMPTY_OBJECT = re.compile(r"[ \t\r\n]*\{[ \t\r\n]*\}")
_WHITE_SPACE = " \t\r\n"
_NOTHING = frozenset({"", '""', "null"})
"""What some providers send for a call without arguments, or as the first piece of one that will have some."""


class ArgumentsFilter:
    """Passes on the pieces of one call's arguments until they are a complete object.

    An empty object is held back: it may be a placeholder. So is a piece that may as well repeat all before it as follow it, until
    the next one shows which, and a text in JSON until its end. `take_rest` returns at the end of the answer what is held back.
    Linear in the text, of which `_MOST_KEPT` characters are kept.
    """

    __slots__ = (
        "_depth",
        "_empty",
        "_escaped",
        "_held",
        "_in_string",
        "_is_object",
        "_kept",
        "_length",
        "_quoted",
        "_repeats",
        "_started",
        "complete",
    )

    def __init__(self) -> None:
        self.complete = False
        """Whether the arguments are a complete object; nothing more is passed on, unless that object is empty."""
        self._started = False
        self._is_object = False
        self._empty = False
        self._in_string = False
        self._escaped = False
        self._depth = 0
        self._kept: list[str] = []
        """What was passed on, to recognise it."""
        self._length = 0
        self._repeats = False
        """Whether a piece has repeated those before it: then all do."""
        self._held = ""
        """A piece that is passed on, whole or in part, once the next one is there."""
        self._quoted = ""
        """A text in JSON until now, which may hold the object."""

    def take_rest(self) -> str:
        """Return what was held back, at the end of the answer: the empty object, if it is all that arrived, or the last piece."""
        if self._quoted:
            return self._take_quoted()
        if self._held:
            held, self._held, self._is_object = self._held, "", True
            before = "".join(self._kept)
            repeats = not _is_whole(before + held) and _is_whole(held)
            return self._scan(held[len(before) :] if repeats else held)
        rest = "{}" if self._empty else ""
        self._empty = False
        return rest

    def feed(self, piece: str) -> str:
        """Return what of `piece` belongs to the arguments."""
        if not piece or (self.complete and not self._empty):
            return ""
        if self._is_object:
            if not self._escaped and '"' not in piece and "}" not in piece and "{" not in piece and "\\" not in piece:
                self._length += len(piece)
                if self._length <= _MOST_KEPT:
                    self._kept.append(piece)
                return piece  # most pieces
            return self._scan(self._take_off_repetition(piece) if piece[0] == "{" else piece)
        return self._feed_other(piece)

    def _feed_other(self, piece: str) -> str:
        if self._held:
            held, self._held, self._is_object = self._held, "", True
            if piece.startswith(held):
                self._repeats = True
                return self._scan(piece[self._length :])
            return self._scan(held) + self.feed(piece)
        if self._quoted:
            self._quoted += piece
            return "" if len(self._quoted) <= _MOST_KEPT else self._take_quoted()
        return piece if self._started else self._begin(piece)

    def _take_quoted(self) -> str:
        """Return the object in a text in JSON, or the text as it is."""
        quoted, self._quoted = self._quoted, ""
        found = _unquote(quoted)
        self.complete = found is not None
        return quoted if found is None else found

    def _begin(self, piece: str) -> str:
        """Return `piece` from the beginning of the arguments, or nothing if they have not begun."""
        begin = 0
        while (found := _EMPTY_OBJECT.match(piece, begin)) is not None:
            self._empty = self.complete = True
            begin = found.end()
        text = piece[begin:].strip(_WHITE_SPACE)
        if text in _NOTHING:
            return ""
        if text[0] != "{":
            if self._empty:
                return ""
            self._started = True
            if text[0] == '"':
                self._quoted = piece
                return ""
            return piece
        self._started = self._is_object = True
        self._empty = self.complete = False
        return self._scan(piece[begin:].lstrip(_WHITE_SPACE))

    def _take_off_repetition(self, piece: str) -> str:
        """Return `piece` without what was passed on, if it begins with all of that and cannot be meant to follow it."""
        if self._length > _MOST_KEPT or len(piece) < self._length:
            return piece
        before = "".join(self._kept)
        if not piece.startswith(before):
            return piece
        if not self._repeats and self._may_follow(before, piece):
            if not _is_whole(before + piece):
                self._held, self._is_object = piece, False
                return ""
            return piece
        self._repeats = True
        return piece[len(before) :]

    def _may_follow(self, before: str, piece: str) -> bool:
        """Return whether JSON that begins with `before` may go on with `piece`, a text that begins with a brace."""
        if self._in_string:
            # The first quote of `piece` would end a string.
            return piece.partition('"')[2].lstrip(_WHITE_SPACE)[:1] in ("", ",", ":", "}", "]")
        last = before.rstrip(_WHITE_SPACE)[-1:]
        return last in (":", "[") or (last == "," and _is_in_list(before))

    def _scan(self, piece: str) -> str:
        piece = self._pass_on(piece) if piece else ""
        self._length += len(piece)
        if self._length <= _MOST_KEPT:
            self._kept.append(piece)
        return piece

    def _pass_on(self, piece: str) -> str:
        in_string, depth = self._in_string, self._depth
        for mark in _MARK.finditer(piece, 1 if self._escaped else 0):
            sign = mark[0]
            if sign == '"':
                in_string = not in_string
            elif in_string or sign[0] == "\\":
                continue
            elif sign == "{":
                depth += 1
            else:
                depth -= 1
                if depth == 0:
                    self.complete = True
                    return piece[: mark.end()]
        self._escaped = piece[-1] == "\\" and _ends_in_escape(piece, begun=self._escaped)
        self._in_string, self._depth = in_string, depth
        return piece


def _is_in_list(text: str) -> bool:
    """Return whether the innermost bracket that JSON `text` leaves open is that of a list; the text ends outside of strings."""
    brackets: list[str] = []
    in_string = False
    for mark in _BRACKET.finditer(text):
        sign = mark[0]
        if sign == '"':
            in_string = not in_string
        elif in_string or sign[0] == "\\":
            continue
        elif sign in "[{":
            brackets.append(sign)
        elif brackets:
            brackets.pop()
    return brackets[-1:] == ["["]


def _ends_in_escape(piece: str, *, begun: bool) -> bool:
    """Return whether the last backslash of `piece`, its end, escapes what follows; `begun` says that its first is escaped."""
    slashes = len(piece) - len(piece.rstrip("\\"))
    return (slashes - (begun and slashes == len(piece))) % 2 == 1


def _is_whole(text: str) -> bool:
    return parse_object(text.encode("utf-8", "replace")) is not None


def _unquote(text: str) -> str | None:
    """Return the object in a text in JSON, if it holds one, itself perhaps quoted again."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    found = first_object(value) if isinstance(value, str) and value else ""
    return found if _is_whole(found) else None


def says_nothing(arguments: str) -> bool:
    """Return whether a call's arguments are blank, or a null or an empty text in JSON: what servers write for none."""
    return arguments.strip(_WHITE_SPACE) in _NOTHING


def first_object(arguments: str) -> str:
    """Return complete arguments without anything that follows their object; arguments that are no object stay.

    A null or an empty text in JSON is the empty object, as it is in a stream.
    """
    if arguments and says_nothing(arguments):
        return "{}"
    kept = ArgumentsFilter()
    text = kept.feed(arguments) + kept.take_rest()
    if not kept.complete:
        return arguments
    return arguments if arguments.strip(_WHITE_SPACE) == text else text
