"""Redacts one text that arrives in pieces: a secret may begin in one piece and end in another.

A piece is held back only from where it may be the beginning of a secret, and only once HEAD characters of that have come: so
nearly every piece passes at once. Of a secret that arrives in the smallest pieces the first HEAD - 1 characters are shown. Pure.
"""

from collections.abc import Iterator

from services.provider_worker.redaction.escapes import Decoded, EscapeBudget, decode_with_places, undecoded
from services.provider_worker.redaction.secret_forms import HEAD, MARK, SEGMENT_CHARACTERS, SecretForms

_MAX_HELD_FACTOR = 16
"""A secret whose every character is written in more than so many is replaced before its end has come."""
_ESCAPE_BEGINS = "%&\\\r\n"
_MAX_CONTEXT = 64
_MIN_REDACTED_HALF = 12


def segments(text: str) -> Iterator[str]:
    """Yield `text` in pieces of at most SEGMENT_CHARACTERS."""
    return (text[at : at + SEGMENT_CHARACTERS] for at in range(0, len(text), SEGMENT_CHARACTERS))


class JoinedText:
    """The pieces of one text, such as the content of a streamed choice."""

    __slots__ = ("_budget", "_context", "_escaped", "_forms", "_held", "_matched", "found")

    def __init__(self, forms: SecretForms, budget: EscapeBudget) -> None:
        self._budget = budget
        self.found = False
        """Whether a secret was in it."""
        self._forms = forms
        self._context = ""
        """The end of what was passed on, as far as a secret may begin there."""
        self._escaped = False
        """Whether `_context` has escapes, or what may become one."""
        self._held = ""
        """What was not passed on."""
        self._matched = (0, 0)
        """How many characters of which length of a form `_context` and `_held` end with."""

    @property
    def holds(self) -> bool:
        """Whether anything is held back."""
        return self._held != ""

    def feed(self, piece: str) -> str:
        """Return what can be passed on after `piece`."""
        if len(piece) > SEGMENT_CHARACTERS:
            return "".join(map(self.feed, segments(piece)))
        # In a long piece each text is searched on its own as well: only the line breaks of short ones need a look.
        line_ends = ("\n" in piece or "\r" in piece) and len(piece) <= _MAX_CONTEXT
        if not (self._held or self._escaped or line_ends or "%" in piece or "&" in piece or "\\" in piece):
            recent = self._context + piece
            if len(recent) < self._forms.shortest and recent[1 - HEAD :] not in self._forms.triples:
                self._context = recent[1 - HEAD :]
                return piece
            for head in self._forms.heads:
                if head in recent:
                    break
            else:
                self._context = recent[1 - HEAD :]
                return piece
        return self._feed_slowly(piece)

    def flush(self) -> str:
        """Return what was held back, at the end of the text. At least half of a secret is replaced by MARK."""
        held, (matched, length) = self._held, self._matched
        self._context = self._held = ""
        self._matched = (0, 0)
        if not held or matched < max(_MIN_REDACTED_HALF, length // 2):
            return held
        self.found = True
        return MARK

    def _feed_slowly(self, piece: str) -> str:
        text = self._context + self._held + piece
        plain = decode_with_places(text, ended=False) if self._budget.take(text) else undecoded(text)
        parts: list[str] = []
        passed = len(self._context)
        hold, self._matched, after = len(text), (0, 0), 0
        for at in self._forms.find_heads(plain.text):
            if at < after:
                continue
            whole, partial = self._forms.match(plain.text, at)
            if whole:
                after = at + whole
                parts += [text[passed : plain.starts[at]], MARK]
                passed = max(passed, plain.ends[after - 1])
            elif partial is not None:
                hold, self._matched = plain.starts[at], partial
                break
        parts.append(text[passed:hold])
        self._held = text[max(hold, passed) :]
        self._context = text[hold:passed] if self._matched[0] else self._recent(text, plain, passed if after else 0)
        self._escaped = any(character in self._context for character in _ESCAPE_BEGINS)
        if len(self._held) > _MAX_HELD_FACTOR * self._forms.longest:
            self._held = self._context = ""
            parts.append(MARK)
        self.found = self.found or MARK in parts
        return "".join(parts)

    def _recent(self, text: str, plain: Decoded, after: int) -> str:
        """Return the end of `text`, none of it before `after`, in which a secret may begin."""
        recent = plain.starts[: len(plain.text)][1 - HEAD :]
        begin = recent[0] if recent else 0
        return text[max(begin, after, len(text) - _MAX_CONTEXT) :]
