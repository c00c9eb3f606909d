"""Finds planted secrets in any bytes a system has emitted, in every encoding that a program is likely to use.

A secret is found by any window of its characters: raw, in hex, in base64 at any alignment, percent-encoded, escaped as in JSON
or in a Python repr, and all of these inside gzip or zlib data. A sighting names secret, place and spelling, never the text.

An encoding is longer than what it encodes, so one window of it is a shorter part of the secret, which ids of the same alphabet
may share by chance. It takes as many windows of one spelling as cover `WINDOW` characters of the secret.
"""

import base64
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

WINDOW = 12
"""Characters in a row that give a secret away: of base62, 71 bits, so that nothing is found by chance."""
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_RUN = re.compile(rb"[A-Za-z0-9_+/=%\\.~-]{12,}")
"""What any spelling of a secret consists of: everything else in the haystack is passed over."""
_ESCAPED = re.compile(rb"\\+(?:u00|x)([0-9A-Fa-f]{2})|\\+(?=/)")
_MAX_ESCAPES_DEEP = 3
_GZIP = re.compile(rb"\x1f\x8b\x08")
_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_MAX_COMPRESSED_DEEP = 2
_INFLATE_STEP_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret that must not leave the place where it was planted."""

    name: str
    text: str = field(repr=False)
    """The whole secret, of `A-Z a-z 0-9 _ -`. Raises ValueError for others, or where too little of it is secret."""
    public_prefix: str = ""
    """How the text begins in every secret of its kind: no part of it gives anything away."""

    def __post_init__(self) -> None:
        if not _PLAIN.fullmatch(self.text) or not self.text.startswith(self.public_prefix):
            raise ValueError(f"{self.name} cannot be searched for: its text has other characters, or another prefix")
        if len(self.secret) < 2 * WINDOW:
            raise ValueError(f"{self.name} is too short to be distinguished from chance")

    @property
    def secret(self) -> bytes:
        """The part that cannot be guessed."""
        return self.text.removeprefix(self.public_prefix).encode()


class CapturedOutput(NamedTuple):
    """Bytes that left a process."""

    channel: str
    place: str
    """Where in the channel: a file, a subject, a command."""
    data: bytes


@dataclass(frozen=True, slots=True, order=True)
class Sighting:
    """A secret where it must not be."""

    canary: str
    channel: str
    place: str
    spelling: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """A place where a secret belongs, and why. `place` is a pattern for the whole of it."""

    canary: str
    channel: str
    place: str
    reason: str

    def covers(self, sighting: Sighting) -> bool:
        """Return whether the sighting matches this row."""
        same = (self.canary, self.channel) == (sighting.canary, sighting.channel)
        return same and re.fullmatch(self.place, sighting.place) is not None


class _Spelled(NamedTuple):
    """A spelling of one canary."""

    canary: str
    spelling: str
    needed: int
    """How many different windows of it give away as much as one window of the secret."""


class Searcher:
    """Looks for all canaries at once."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._windows: dict[bytes, list[_Spelled]] = {}
        for canary in canaries:
            for spelling, text in spellings(canary.secret).items():
                # Base64 that begins within three bytes has one character less that its neighbours do not change.
                covering = WINDOW * len(text) // len(canary.secret) - ("base64" in spelling)
                spelled = _Spelled(canary.name, spelling, covering - WINDOW + 1)
                for window in set(_windows(text)):
                    found = self._windows.setdefault(window, [])
                    # What secrets have in common, such as a token and its misspelling, is the first one's.
                    if all(first.canary == canary.name for first in found):
                        found.append(spelled)

    def sightings(self, emissions: Iterable[CapturedOutput]) -> list[Sighting]:
        """Return every canary found in every emission, once per spelling, in order."""
        found = {
            Sighting(name, emission.channel, emission.place, spelling)
            for emission in emissions
            for name, spelling in self.found(emission.data)
        }
        return sorted(found)

    def found(self, data: bytes) -> set[tuple[str, str]]:
        """Return names and spellings of the canaries in `data`."""
        hits: set[tuple[str, str]] = set()
        for layer, text in _layers(data):
            for run in set(_RUN.findall(text)):
                hits |= {(name, layer + spelling) for name, spelling in self._in_run(run)}
        return hits

    def _in_run(self, run: bytes) -> Iterator[tuple[str, str]]:
        for deep in range(_MAX_ESCAPES_DEEP):
            known = self._windows.keys() & set(_windows(run))
            seen = Counter(spelled for window in known for spelled in self._windows[window])
            for (name, spelling, needed), windows in seen.items():
                if windows >= needed:
                    yield name, f"escaped {spelling}" if deep else spelling
            plainer = _unescaped(run)
            if plainer == run:
                return
            run = plainer


def spellings(secret: bytes) -> Mapping[str, bytes]:
    """Return the secret in common encodings that differ, without the characters that depend on its neighbours."""
    found = {"raw": secret, "hex": secret.hex().encode(), "upper-case hex": secret.hex().upper().encode()}
    for shift in range(3):
        shifted = b"\0" * shift + secret
        whole_bits = len(shifted) * 8 // 6
        clean = slice(-(-shift * 8 // 6), whole_bits)
        found[f"base64 at {shift}"] = base64.b64encode(shifted)[clean]
        found[f"url-safe base64 at {shift}"] = base64.urlsafe_b64encode(shifted)[clean]
    distinct: dict[str, bytes] = {}
    for spelling, text in found.items():
        if text not in distinct.values():
            distinct[spelling] = text
    return distinct


def unallowed(sightings: Iterable[Sighting], allowed: Sequence[Allowed]) -> list[Sighting]:
    """Return the sightings that no row of the table covers."""
    return [sighting for sighting in sightings if not any(row.covers(sighting) for row in allowed)]


def _windows(text: bytes) -> Iterator[bytes]:
    for start in range(len(text) - WINDOW + 1):
        yield text[start : start + WINDOW]


def _unescaped(run: bytes) -> bytes:
    """Undo one level of percent-encoding and of backslash escapes."""
    if b"%" not in run and b"\\" not in run:
        return run
    plainer = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"", run)
    return unquote_to_bytes(plainer)


def _layers(data: bytes, name: str = "", deep: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield the data and whatever is compressed in it, wherever it begins and even if it is cut off."""
    yield name, data
    if deep == _MAX_COMPRESSED_DEEP:
        return
    for kind, magic, window_bits in (("gzipped ", _GZIP, 31), ("deflated ", _ZLIB, 15)):
        for match in magic.finditer(data):
            inflated = _inflated(data, match.start(), window_bits)
            if len(inflated) >= WINDOW:
                yield from _layers(inflated, name + kind, deep + 1)


def _inflated(data: bytes, start: int, window_bits: int) -> bytes:
    engine = zlib.decompressobj(window_bits)
    out: list[bytes] = []
    try:
        for at in range(start, len(data), _INFLATE_STEP_BYTES):
            out.append(engine.decompress(data[at : at + _INFLATE_STEP_BYTES]))
            if engine.eof:
                break
    except zlib.error:
        return b"".join(out)
    return b"".join(out)
