"""The page's document: what is put into it, and the policy under which a browser shows it. Pure."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

NONCE_PLACE = "__CSP_NONCE__"
CONFIG_PLACE = "__CONSOLE_CONFIG__"
_SCRIPT = re.compile(r"<script\b([^>]*)>(.*?)</script\s*>", re.DOTALL | re.IGNORECASE)
_HAS_SOURCE = re.compile(r"\bsrc\s*=", re.IGNORECASE)
_IS_DATA = re.compile(r"\btype\s*=\s*[\"']?application/(?:ld\+)?json\b", re.IGNORECASE)
_IN_SCRIPTS = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_FEATURES = (
    *("accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope"),
    *("hid", "magnetometer", "microphone", "midi", "payment", "picture-in-picture", "publickey-credentials-get"),
    *("screen-wake-lock", "serial", "usb", "xr-spatial-tracking"),
)


@dataclass(frozen=True, slots=True)
class Document:
    """An index.html with everything filled in but the nonce, which is another one in each response."""

    parts: tuple[str, ...]
    """The text between the places of the nonce."""
    script_hashes: tuple[str, ...]
    """The sources of inline programs for a content security policy, such as `'sha256-…'`."""

    def render(self, nonce: str) -> bytes:
        """Return the document with this nonce."""
        return nonce.join(self.parts).encode()


def make_document(html: str, config: Mapping[str, object]) -> Document:
    """Return the document of the page that was built, for this installation."""
    text = html.replace("\r\n", "\n").replace("\r", "\n")  # as a browser reads it, which then computes the hashes
    hashes = tuple(_hash(content) for attributes, content in _SCRIPT.findall(text) if _is_inline(attributes))
    return Document(tuple(text.replace(CONFIG_PLACE, encode_config(config)).split(NONCE_PLACE)), hashes)


def encode_config(config: Mapping[str, object]) -> str:
    """Return JSON that cannot end the script element in which it is, or begin a comment there."""
    text = json.dumps(config, separators=(",", ":"), ensure_ascii=False)
    return "".join(_IN_SCRIPTS.get(character, character) for character in text)


def content_security_policy(nonce: str, script_hashes: tuple[str, ...], api_origin: str | None) -> str:
    """Return the policy of one response: the page's own files, the console, the gateway's API, and nothing else."""
    directives = {
        "default-src": ("'none'",),
        "script-src": ("'self'", *script_hashes),
        "style-src": ("'self'", f"'nonce-{nonce}'"),
        "img-src": ("'self'", "data:"),
        "font-src": ("'self'",),
        "connect-src": ("'self'", *([api_origin] if api_origin else ())),
        "base-uri": ("'none'",),
        "form-action": ("'self'",),
        "frame-ancestors": ("'none'",),
        "object-src": ("'none'",),
    }
    return "; ".join(" ".join((name, *sources)) for name, sources in directives.items())


PAGE_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", ", ".join(f"{feature}=()" for feature in _FEATURES)),
)
"""Headers of every document of the page, besides its policy and those of the server."""


def _is_inline(attributes: str) -> bool:
    return _HAS_SOURCE.search(attributes) is None and _IS_DATA.search(attributes) is None


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
