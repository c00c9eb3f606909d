"""Identifiers that a provider takes: tool-call ids, function names, schema names.

An identifier outside the provider's rule becomes one inside it, made from the caller's by a digest: the same text always gives
the same identifier, so that a call and its result agree and prompts stay cacheable, and two texts never give one. Pure.
"""

import hashlib
import re
from dataclasses import dataclass, field

_DIGEST = 10
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """Which identifiers a provider takes. `characters` and `first` are the inside of a regular expression's class."""

    longest: int
    characters: str = "a-zA-Z0-9_-"
    first: str = ""
    """The characters that it may begin with, if not all; `_` is always one of them."""
    exact: bool = False
    """Whether it has exactly `longest` characters, letters and digits."""
    pattern: re.Pattern[str] = field(init=False, repr=False, compare=False)
    """What follows from the other fields, for whole texts."""

    def __post_init__(self) -> None:
        head = f"[{self.first or self.characters}]"
        text = f"{head}[{self.characters}]{{0,{self.longest - 1}}}"
        object.__setattr__(self, "pattern", re.compile(f"[a-zA-Z0-9]{{{self.longest}}}" if self.exact else text))

    def takes(self, text: str) -> bool:
        """Return whether the provider takes `text` as it is."""
        return self.pattern.fullmatch(text) is not None

    def fit(self, text: str) -> str:
        """Return `text` if the provider takes it, else an identifier made from it."""
        if self.takes(text):
            return text
        if self.exact:
            return _digest(text, self.longest)
        cleaned = re.sub(f"[^{self.characters}]", "_", text)
        if self.first and not re.match(f"[{self.first}]", cleaned):
            cleaned = f"_{cleaned}"
        return f"{cleaned[: self.longest - _DIGEST - 1]}_{_digest(text, _DIGEST)}"


FUNCTION_NAME = IdentifierRule(64)
"""OpenAI's rule for names of functions and of schemas, which most providers share. Source: the OpenAI API reference,
`tools[].function.name` and `response_format.json_schema.name`."""


def opaque_user_id(user: str, longest: int) -> str:
    """Return `user`, or its SHA-256 where it is too long or names a person, as an e-mail address or a phone number does.

    Providers ask for an opaque id; Anthropic's API answers 400 to an e-mail address or a phone number.
    """
    if len(user) <= longest and not _PERSONAL.search(user) and user.isprintable():
        return user
    return hash_user_id(user)[:longest]


def hash_user_id(user: str) -> str:
    """Return the SHA-256 of a user's id, as 64 hexadecimal digits."""
    return hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()


_PERSONAL = re.compile(r"@|\s|\+\d|^[\d().-]{7,}\Z|^tel:", re.IGNORECASE)


def _digest(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    characters: list[str] = []
    while len(characters) < length:
        number, remainder = divmod(number, len(_ALPHABET))
        characters.append(_ALPHABET[remainder])
    return "".join(characters)
