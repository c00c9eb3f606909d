"""The forms in which a provider may repeat the secrets that it is called with, and the search for them in a text.

A secret of fewer than MIN_CHARACTERS characters, a placeholder of servers that check no key, and one of few different
characters are not searched for: their replacement would spoil messages and answers, and they protect nothing. In answers a
secret is searched for only if it cannot be a word. Pure.
"""

import base64
import re
import sys
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import NamedTuple, NoReturn

from keyferry.contracts.secret import Secret
from services.provider_worker.redaction.escapes import Decoded, decode, decode_with_places, may_have_escapes, undecoded

MARK = "[redacted]"
MIN_CHARACTERS = 8
MIN_DIFFERENT_CHARACTERS = 5
WORD_CHARACTERS = 16
"""A shorter secret is searched for in answers only if it has letters and digits."""
RUN = 8
"""The shortest run of a secret's characters that is replaced in an error: providers show shorter ones to distinguish keys."""
SPELLED_RUN = 12
"""The shortest run of letters and digits that is replaced in an error whatever is between them, as in `a b c` and `61:62`."""
HEAD = 4
"""So many characters at the beginning of a form are the first that can be recognised in a text that arrives in pieces."""
SEGMENT_CHARACTERS = 64 * 1024
"""A longer text is searched in segments, so that the places of its characters do not fill memory."""
PLACEHOLDERS = frozenset(
    {
        "anything", "changeme", "dummy-key", "fake-key", "llama.cpp", "lm-studio", "local-key", "localhost", "no-api-key",
        "no-key-required", "not-needed", "not-required", "placeholder", "sk-dummy", "sk-no-key-required", "test-key",
        "token-abc123", "your-api-key", "your_api_key",
    }
)  # fmt: skip
"""What the documentation of local servers says to enter for a key. Shorter ones, such as `EMPTY` or `ollama`, need no row."""
_BLOCKS = (32, 24, 16, 12)
"""Lengths of the blocks that are searched for: the longer, the faster."""
_SECOND_BLOCK, _MIN_SECOND_BLOCK = 32, 6
_MIN_PIECE = 12
_LOWER = {code: code + 32 for code in range(65, 91)}
"""For `str.translate`: unlike `str.lower` it never changes a text's length."""
_LOWER_BYTES = bytes(range(256)).lower()
_OTHER_BYTES = bytes(code for code in range(128) if not chr(code).isalnum())
_LETTER, _DIGIT = re.compile(r"[A-Za-z]"), re.compile(r"[0-9]")

Span = tuple[int, int]


class SecretForms:
    """Every form of some secrets. It cannot be printed or pickled."""

    __slots__ = (
        "__forms",
        "__names",
        "__not_words",
        "__patterns",
        "__runs",
        "__texts",
        "blocks",
        "heads",
        "longest",
        "quoted",
        "shortest",
        "triples",
    )

    def __init__(self, secrets: Iterable[Secret]) -> None:
        texts = [text for secret in secrets if is_searchable(text := secret.reveal())]
        self.__texts = texts
        not_words = self.__not_words = [text for text in texts if not _may_be_word(text)]
        forms = tuple(dict.fromkeys(form for text in not_words for form in _forms(text)))
        wrapped = {form for text in not_words for form in (decode(text), *_base64_forms(text.encode()))}
        self.__forms = forms
        self.__patterns = tuple(map(_pattern, forms))
        self.__names = tuple(
            map(_pattern, _letters_and_digits(form for text in not_words for form in _name_forms(text)))
        )
        self.__runs: tuple[_Runs, _Runs] | None = None
        seconds = {_second_block(pattern) for pattern in self.__patterns if pattern.form in wrapped}
        self.blocks = tuple({pattern.block for pattern in self.__patterns} | seconds.difference({""}))
        """A text without any of these, and without escapes, holds no form, not even one that a line break divides."""
        self.heads = tuple({form[:HEAD] for form in forms})
        self.longest = max(map(len, forms), default=0)
        self.shortest = min((pattern.needed for pattern in self.__patterns), default=sys.maxsize)
        """A text that is shorter holds no form."""
        self.triples = _windows(forms, HEAD - 1)
        """A text that does not end with one of these does not end with the beginning of a form, from HEAD characters on."""
        self.quoted = any('"' in form for form in self.__forms)
        """Whether JSON writes a form with escapes."""

    def __bool__(self) -> bool:
        """Return whether there is anything to search for."""
        return bool(self.__texts)

    def redact(self, text: str, *, escaped: bool = True) -> str:
        """Return `text` with each form, whole or at least three quarters of it, replaced by MARK. For answers and names.

        Without `escaped` it is searched as it is, not for what its escapes mean.
        """
        searched = decode(text) if escaped and may_have_escapes(text) else text
        if not any(block in searched for block in self.blocks):
            return text
        plain = decode_with_places(text) if escaped else undecoded(text)
        return _replace(text, plain, _spans(plain.text, self.__patterns))

    def redact_name(self, text: str) -> str:
        """Return `text` as `redact` does, where the secret may also be in any case, spelled out or reversed.

        For names and headers.
        """
        text = self.redact(text)
        searched = _squeeze(decode(text) if may_have_escapes(text) else text)
        if not any(pattern.block in searched for pattern in self.__names):
            return text
        plain = _squeeze_with_places(decode_with_places(text))
        return _replace(text, plain, _spans(plain.text, self.__names))

    def redact_message(self, text: str) -> str:
        """Return `text` with each run of RUN characters of a form, in any case, replaced by MARK. For errors.

        So is each run of SPELLED_RUN letters and digits, whatever is between them, also of a reversed or twice encoded form.
        """
        runs, spelled_out = self._load_runs()
        lower = decode(text).translate(_LOWER)
        if any(runs.spans(lower)):
            plain = decode_with_places(text)
            text = _replace(text, plain, runs.spans(plain.text.translate(_LOWER)))
            lower = decode(text).translate(_LOWER)
        if any(spelled_out.spans(_squeeze(lower))):
            plain = _squeeze_with_places(decode_with_places(text))
            text = _replace(text, plain, spelled_out.spans(plain.text))
        return text

    def find_heads(self, text: str) -> list[int]:
        """Return where in `text` a form is, or may begin that the text does not hold the end of; in order."""
        last = max(0, len(text) - self.longest)
        whole = {at for form in self.__forms for at in _places(form, text)}
        return sorted(whole.union(at for head in self.heads for at in _places(head, text, last)))

    def match(self, text: str, at: int) -> tuple[int, Span | None]:
        """Return the length of the form that is in `text` from `at`, and what may be the beginning of one.

        The length is 0 if there is none; the beginning is (characters, length of the form), null if the text goes on otherwise.
        """
        whole = max((len(form) for form in self.__forms if text.startswith(form, at)), default=0)
        if whole or len(text) - at > self.longest:
            return whole, None
        rest = text[at:]
        return 0, max(((len(rest), len(form)) for form in self.__forms if form.startswith(rest)), default=None)

    def _load_runs(self) -> tuple["_Runs", "_Runs"]:
        """Return the runs of the forms, and those of their letters and digits."""
        if self.__runs is None:
            forms = {form.translate(_LOWER) for text in self.__texts for form in _forms(text)}
            spelled_out = (form for text in self.__not_words for form in (*_name_forms(text), *_twice_encoded(text)))
            self.__runs = _Runs.of(forms, RUN), _Runs.of(_letters_and_digits(spelled_out), SPELLED_RUN)
        return self.__runs

    def __repr__(self) -> str:
        return "SecretForms(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("SecretForms cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("SecretForms cannot be pickled or copied")


def is_searchable(text: str) -> bool:
    """Return whether a secret is one that can be searched for without spoiling texts that have nothing to do with it."""
    return (
        len(text) >= MIN_CHARACTERS and len(set(text)) >= MIN_DIFFERENT_CHARACTERS and text.lower() not in PLACEHOLDERS
    )


def _may_be_word(text: str) -> bool:
    """Return whether a text may be a word or a number that answers have anyway."""
    return _LETTER.search(text) is None or (len(text) < WORD_CHARACTERS and _DIGIT.search(text) is None)


def _forms(text: str) -> Iterator[str]:
    plain = decode(text)
    yield plain
    yield plain.lower()
    yield plain.upper()
    secret = text.encode()
    yield secret.hex()
    yield secret.hex().upper()
    yield from _base64_forms(secret)


def _base64_forms(secret: bytes) -> Iterator[str]:
    for shift in range(3):
        # Without the characters that depend on what stands around the secret in the encoded text.
        shifted = b"\0" * shift + secret
        clean = slice(-(-shift * 8 // 6), len(shifted) * 8 // 6)
        yield base64.b64encode(shifted)[clean].decode()
        yield base64.urlsafe_b64encode(shifted)[clean].decode()


def _name_forms(text: str) -> Iterator[str]:
    yield from _forms(text)
    yield decode(text)[::-1]


def _twice_encoded(text: str) -> Iterator[str]:
    for form in _base64_forms(text.encode()):
        yield from _base64_forms(form.encode())


def _letters_and_digits(forms: Iterable[str]) -> frozenset[str]:
    """Return the letters and digits of each form, in lower case; of none that has too few."""
    return frozenset(squeezed for form in forms if len(squeezed := _squeeze(form)) >= SPELLED_RUN)


def _squeeze(text: str) -> str:
    return text.encode("ascii", "ignore").translate(_LOWER_BYTES, _OTHER_BYTES).decode()


def _squeeze_with_places(plain: Decoded) -> Decoded:
    kept = [at for at, character in enumerate(plain.text) if character.isascii() and character.isalnum()]
    return Decoded(_squeeze(plain.text), [plain.starts[at] for at in kept], [plain.ends[at] for at in kept])


def _windows(forms: Iterable[str], length: int) -> frozenset[str]:
    return frozenset(form[at : at + length] for form in forms for at in range(len(form) - length + 1))


class _Runs(NamedTuple):
    """Every run of `length` characters of some forms, and every half of such a run."""

    length: int
    runs: frozenset[str]
    halves: frozenset[str]

    @classmethod
    def of(cls, forms: Set[str], length: int) -> "_Runs":
        return cls(length, _windows(forms, length), _windows(forms, length // 2))

    def spans(self, plain: str) -> Iterator[Span]:
        """Yield each run in `plain`. Every one has a half at a multiple of its length, so that few places are looked at."""
        half = self.length // 2
        for block in range(0, len(plain) - half + 1, half):
            if plain[block : block + half] in self.halves:
                for at in range(max(0, block - half), block + 1):
                    if plain[at : at + self.length] in self.runs:
                        yield at, at + self.length


class _Pattern(NamedTuple):
    """What is searched for: `needed` characters of `form` in a row, which cannot be without `block`, which begins at `offset`."""

    form: str
    needed: int
    block: str
    offset: int


def _pattern(form: str) -> _Pattern:
    needed = max(min(_MIN_PIECE, len(form)), -(-3 * len(form) // 4))
    first, last = len(form) - needed, needed
    for length in _BLOCKS:
        for at in range(first, last - length + 1):
            # Where it is the same in both alphabets of base64, it is searched for once.
            if form[at : at + length].isalnum():
                return _Pattern(form, needed, form[at : at + length], at)
    return _Pattern(form, needed, form[first:last][: _BLOCKS[0]], first)


def _second_block(pattern: _Pattern) -> str:
    """Return a block beside that of `pattern`: a line break in one of them leaves the other as it is. Empty for a short form.

    Both together are shorter than the lines of PEM, of 64 characters (RFC 7468).
    """
    before, after = pattern.form[: pattern.offset], pattern.form[pattern.offset + len(pattern.block) :]
    block = after[:_SECOND_BLOCK] if len(after) >= min(len(before), _SECOND_BLOCK) else before[-_SECOND_BLOCK:]
    return block if len(block) >= _MIN_SECOND_BLOCK else ""


def _spans(plain: str, patterns: Sequence[_Pattern]) -> Iterator[Span]:
    for form, needed, block, offset in patterns:
        at = plain.find(block)
        while at >= 0:
            start, end = _extend(plain, form, at, offset, len(block))
            if end - start >= needed:
                yield start, end
            at = plain.find(block, max(end, at + 1))


def _extend(plain: str, form: str, at: int, offset: int, length: int) -> Span:
    """Return how far `plain` agrees with `form`, of which it holds `length` characters from `offset` at `at`."""
    start, end = at, at + length
    while start > 0 and at - start < offset and plain[start - 1] == form[offset - (at - start) - 1]:
        start -= 1
    while end < len(plain) and (next_ := offset + end - at) < len(form) and plain[end] == form[next_]:
        end += 1
    return start, end


def _places(part: str, text: str, start: int = 0) -> Iterator[int]:
    at = text.find(part, start)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _replace(text: str, plain: Decoded, spans: Iterable[Span]) -> str:
    """Return `text` with MARK in place of each span of `plain`; of spans that meet or overlap, with one for all."""
    parts: list[str] = []
    kept_from = 0
    end_before = -1
    for start, end in sorted(spans):
        if start > end_before:
            parts += [text[kept_from : plain.starts[start]], MARK]
        end_before = max(end, end_before)
        kept_from = plain.ends[end_before - 1]
    return "".join([*parts, text[kept_from:]])


NO_SECRETS = SecretForms(())
