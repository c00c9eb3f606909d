"""Keeps the arguments of a tool call one JSON object, however a provider repeats or decorates it.

Callers join the pieces of a stream themselves, so what follows a complete object must not reach them: providers send it
again whole, or quotes, or the empty object before the real one. Only an object is ever complete: `1` may go on with `2`.
"""

import re

_MARK = re.compile(r'\\(?:.|\Z)|["{}]', re.DOTALL)
"""What matters to the nesting of braces: an escape, perhaps cut off by the end of the piece; a quote; a brace."""
_EMPTY_OBJECT = re.compile(r"[ \t\r\n]*\{[ \t\r\n]*\}")
_WHITE_SPACE = " \t\r\n"
_NOTHING = frozenset({"", '""', "null"})
"""First pieces that some providers send for a call without arguments yet."""


class ArgumentsFilter:
    """Passes on the pieces of one call's arguments until they are a complete object.

    An empty object is held back: it may be a placeholder. `pending` is that object if nothing came after it. Linear in the text,
    and no piece is kept.
    """

    __slots__ = ("_depth", "_empty", "_escaped", "_in_string", "_is_object", "_started", "complete")

    def __init__(self) -> None:
        self.complete = False
        """Whether the arguments are a complete object; nothing more is passed on, unless that object is empty."""
        self._started = False
        self._is_object = False
        self._empty = False
        self._in_string = False
        self._escaped = False
        self._depth = 0

    @property
    def pending(self) -> str:
        """The empty object, if it is all that arrived."""
        return "{}" if self._empty else ""

    def feed(self, piece: str) -> str:
        """Return what of `piece` belongs to the arguments."""
        if not piece or (self.complete and not self._empty):
            return ""
        if self._is_object:
            if not self._escaped and '"' not in piece and "}" not in piece and "{" not in piece and "\\" not in piece:
                return piece  # most pieces
            return self._scan(piece)
        return piece if self._started else self._begin(piece)

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
            return piece
        self._started = self._is_object = True
        self._empty = self.complete = False
        return self._scan(piece[begin:].lstrip(_WHITE_SPACE))

    def _scan(self, piece: str) -> str:
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


def _ends_in_escape(piece: str, *, begun: bool) -> bool:
    """Return whether the last backslash of `piece`, its end, escapes what follows; `begun` says that its first is escaped."""
    slashes = len(piece) - len(piece.rstrip("\\"))
    return (slashes - (begun and slashes == len(piece))) % 2 == 1


def first_object(arguments: str) -> str:
    """Return complete arguments without anything that follows their object; arguments that are no object stay."""
    kept = ArgumentsFilter()
    text = kept.feed(arguments)
    if not kept.complete:
        return arguments
    text = text or kept.pending
    return arguments if arguments.strip(_WHITE_SPACE) == text else text
