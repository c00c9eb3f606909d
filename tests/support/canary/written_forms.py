"""The ways in which programs write a secret, whole: what a provider that repeats its key may send."""

import base64
import html
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from urllib.parse import quote


def _each(form: str) -> Callable[[str], str]:
    return lambda text: "".join(form.format(ord(character)) for character in text)


def _in_json(text: str) -> str:
    return json.dumps(json.dumps({"key": text}).replace(text[:3], "".join(f"\\u{ord(c):04x}" for c in text[:3])))


def _base64(before: bytes, encode: Callable[[bytes], bytes], *, padded: bool = True) -> Callable[[str], str]:
    def form(text: str) -> str:
        encoded = encode(before + text.encode() + b"#").decode()
        return encoded if padded else encoded.rstrip("=")

    return form


def _in_lines(length: int, line_break: str) -> Callable[[str], str]:
    def form(text: str) -> str:
        encoded = base64.b64encode(b"user=someone, key=" + text.encode() + b"#").decode()
        return line_break.join(encoded[at : at + length] for at in range(0, len(encoded), length))

    return form


WRITTEN_FORMS: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "as it is": str,
        "after its scheme": lambda text: f"Bearer {text}",
        "percent-encoded": lambda text: quote(text, safe=""),
        "percent-encoded in lower case": lambda text: (
            quote(text, safe="").lower() if text.islower() else quote(text, safe="")
        ),
        "percent-encoded in full": _each("%{:02X}"),
        "percent-encoded in full, in lower case": _each("%{:02x}"),
        "percent-encoded twice": lambda text: quote(_each("%{:02X}")(text), safe=""),
        "JSON escapes": _each("\\u{:04x}"),
        "JSON escapes in upper case": _each("\\u{:04X}"),
        "JSON in JSON": _in_json,
        "escapes of a repr": _each("\\x{:02x}"),
        "HTML entities": html.escape,
        "decimal HTML entities": _each("&#{};"),
        "hexadecimal HTML entities": _each("&#x{:X};"),
        "hex": lambda text: text.encode().hex(),
        "upper-case hex": lambda text: text.encode().hex().upper(),
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
        "base64 without padding": lambda text: base64.b64encode(text.encode()).decode().rstrip("="),
        "base64 of user and key": _base64(b"user:", base64.b64encode),
        "base64 one byte on": _base64(b"x", base64.b64encode),
        "base64 two bytes on": _base64(b"xy", base64.b64encode, padded=False),
        "base64 in lines of PEM": _in_lines(64, "\n"),
        "base64 in lines of MIME": _in_lines(76, "\r\n"),
        "base64 in lines that are indented": _in_lines(64, "\n  "),
        "base64 in lines, in JSON": _in_lines(64, "\\n"),
        "base64 in lines, in JSON in JSON": _in_lines(76, "\\\\r\\\\n"),
        "URL-safe base64": _base64(b"", base64.urlsafe_b64encode),
        "URL-safe base64 one byte on": _base64(b"\xff", base64.urlsafe_b64encode, padded=False),
        "URL-safe base64 two bytes on": _base64(b"\xff\xfe", base64.urlsafe_b64encode),
    }
)
