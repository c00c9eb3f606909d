"""The search finds planted secrets in every spelling, finds nothing else, and never repeats what it found."""

import base64
import gzip
import json
import secrets
import zlib
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.support.canary.searcher import WINDOW, Allowed, Canary, CapturedOutput, Searcher, Sighting, unallowed

SECRET = Canary("provider key", "sk-proj-" + secrets.token_urlsafe(36), "sk-proj-")
OTHER = Canary("token", secrets.token_hex(24))
SEARCHER = Searcher([SECRET, OTHER])
PART = WINDOW * 3 // 4


def percent_encoded(text: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in text)


def json_escaped(text: bytes) -> bytes:
    return b"".join(b"\\u%04x" % byte for byte in text)


SPELLINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda text: text.hex().encode(),
    "upper-case hex": lambda text: text.hex().upper().encode(),
    "base64 at 0": base64.b64encode,
    "base64 at 1": lambda text: base64.b64encode(b"x" + text),
    "base64 at 2": lambda text: base64.b64encode(b"xy" + text),
    "url-safe base64": lambda text: base64.urlsafe_b64encode(b"\xff\xfe" + text),
    "percent-encoded": percent_encoded,
    "percent-encoded twice": lambda text: quote(percent_encoded(text)).encode(),
    "JSON-escaped": json_escaped,
    "JSON-escaped in JSON": lambda text: json.dumps(json_escaped(text).decode()).encode(),
    "repr": lambda text: b"".join(b"\\x%02x" % byte for byte in text),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "gzip in gzip": lambda text: gzip.compress(b"{}" + gzip.compress(text)),
    "base64 in gzip": lambda text: gzip.compress(base64.b64encode(text)),
    "cut-off gzip": lambda text: gzip.compress(text + secrets.token_bytes(4096))[:-500],
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("around", [(b"", b""), (b"\0\x9c\xff ", b"\n"), (b'{"key": "', b'"}'), (b"abc", b"def")])
def test_a_whole_secret_is_found(spell: Callable[[bytes], bytes], around: tuple[bytes, bytes]) -> None:
    before, after = around
    found = SEARCHER.found(before + spell(SECRET.text.encode()) + after)
    assert {name for name, _ in found} == {SECRET.name}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_any_window_is_found(spell: Callable[[bytes], bytes]) -> None:
    for start in range(len(SECRET.secret) - WINDOW + 1):
        window = SECRET.secret[start : start + WINDOW]
        assert SEARCHER.found(b'"' + spell(window) + b'"'), f"window {start} is missed"


@pytest.mark.parametrize("spell", [SPELLINGS["raw"], SPELLINGS["percent-encoded"], SPELLINGS["gzip"]])
def test_less_than_a_window_is_not_a_sighting(spell: Callable[[bytes], bytes]) -> None:
    for start in range(len(SECRET.secret) - WINDOW):
        assert not SEARCHER.found(spell(SECRET.secret[start : start + WINDOW - 1]))


@pytest.mark.parametrize("encode", [bytes.hex, lambda text: base64.b64encode(text).decode()], ids=["hex", "base64"])
def test_a_part_that_an_encoded_id_may_share_is_not_a_sighting(encode: Callable[[bytes], str]) -> None:
    """A few characters of a hexadecimal secret are in the encoded hexadecimal ids of any table, sooner or later."""
    for start in range(len(OTHER.secret) - PART):
        part = OTHER.secret[start : start + PART]
        assert not SEARCHER.found(encode(b"key_" + part + b"ghij").encode()), f"part {start}"


def test_what_a_misspelling_has_in_common_with_its_secret_is_the_secrets() -> None:
    middle = len(OTHER.text) // 2
    wrong = Canary("misspelled", OTHER.text[:middle] + "x" + OTHER.text[middle + 1 :])
    searcher = Searcher([OTHER, wrong])
    assert searcher.found(OTHER.secret) == {(OTHER.name, "raw")}
    assert (wrong.name, "raw") in searcher.found(wrong.secret)


def test_nothing_is_found_in_unrelated_data() -> None:
    innocent = secrets.token_bytes(200_000) + b" ".join(secrets.token_urlsafe(50).encode() for _ in range(2000))
    assert not SEARCHER.found(innocent + SECRET.public_prefix.encode() * 20)


def test_a_sighting_names_the_place_and_never_the_secret() -> None:
    emissions = [
        CapturedOutput("logs", "router.log", b"key=" + SECRET.text.encode()),
        CapturedOutput("bus", "kf.v1.x", OTHER.text.encode().hex().encode()),
        CapturedOutput("bus", "kf.v1.y", b"nothing"),
    ]
    sightings = SEARCHER.sightings(emissions)
    assert sightings == [
        Sighting("provider key", "logs", "router.log", "raw"),
        Sighting("token", "bus", "kf.v1.x", "hex"),
    ]
    for secret in (SECRET, OTHER):
        assert secret.text not in repr(sightings) + repr(secret)


def test_a_row_of_the_table_allows_one_secret_in_one_place() -> None:
    row = Allowed("token", "cli output", r"tokens create.*", "shown once")
    inside = Sighting("token", "cli output", "tokens create --tenant demo", "raw")
    outside = [
        Sighting("provider key", "cli output", "tokens create", "raw"),
        Sighting("token", "logs", "tokens create", "raw"),
        Sighting("token", "cli output", "tokens list", "raw"),
    ]
    assert unallowed([inside, *outside], [row]) == outside


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("short", ""), ("with a space " * 4, ""), ("x" * 40, "y"), ("sk-proj-" * 4, "sk-proj-sk-proj-sk-proj-")],
)
def test_unsearchable_text_is_rejected(text: str, prefix: str) -> None:
    with pytest.raises(ValueError, match="bad"):
        Canary("bad", text, prefix)
