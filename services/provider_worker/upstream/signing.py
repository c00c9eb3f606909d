"""AWS Signature Version 4: a request carries a keyed digest of itself in place of the secret.

The steps and their names are those of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
The moment of signing is an argument. Pure.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from keyferry.contracts.secret import Secret

ALGORITHM = "AWS4-HMAC-SHA256"
_SCOPE_END = "aws4_request"
_LOOKS_LIKE_A_PAIR = ("AKIA", "ASIA")
_PAIR = re.compile(r"(?P<id>(?:AKIA|ASIA)[A-Z0-9]{12,124}):(?P<secret>[^:]+)(?::(?P<token>.+))?", re.ASCII)
_SPACES = re.compile(r" +")


class BadAccessKey(ValueError):
    """A key that begins like an access key id and is no complete pair. The message repeats none of it."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An AWS access key; `session_token` goes with temporary ones."""

    access_key_id: str
    secret: Secret
    session_token: Secret | None = None


def parse_access_key(key: Secret) -> AccessKey | None:
    """Parse `ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]`; return None for a key that is a bearer token.

    Raises BadAccessKey for one that begins like an access key id and lacks the rest.
    """
    text = key.reveal()
    if not text.startswith(_LOOKS_LIKE_A_PAIR):
        return None
    if (match := _PAIR.fullmatch(text)) is None:
        raise BadAccessKey("an AWS access key is entered as ACCESS_KEY_ID:SECRET_ACCESS_KEY[:SESSION_TOKEN]")
    token = match["token"]
    return AccessKey(match["id"], Secret(match["secret"]), None if token is None else Secret(token))


def sign_request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    access_key: AccessKey,
    service: str,
    region: str,
    now: datetime,
) -> dict[str, str]:
    """Return the headers to send: the given ones and the signature's. All of them are signed, and the host with them."""
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    more = {"x-amz-date": stamp}
    if access_key.session_token is not None:
        more["x-amz-security-token"] = access_key.session_token.reveal()
    to_send = {name: value for name, value in headers.items() if name.lower() not in more} | more
    parts = urlsplit(url)
    canonical_headers = _canonical_headers(to_send, _host(parts.scheme, parts.netloc))
    names = ";".join(canonical_headers)
    canonical_request = "\n".join(
        (
            method,
            _canonical_path(parts.path),
            _canonical_query(parts.query),
            *(f"{name}:{value}" for name, value in canonical_headers.items()),
            "",
            names,
            hashlib.sha256(content).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/{_SCOPE_END}"
    digest = hashlib.sha256(canonical_request.encode()).hexdigest()
    text = "\n".join((ALGORITHM, stamp, scope, digest))
    signature = hmac.new(_signing_key(access_key.secret, scope), text.encode(), hashlib.sha256).hexdigest()
    credential = f"{access_key.access_key_id}/{scope}"
    to_send["authorization"] = f"{ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return to_send


def _signing_key(secret: Secret, scope: str) -> bytes:
    key = f"AWS4{secret.reveal()}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _host(scheme: str, netloc: str) -> str:
    """Return the host as HTTP sends it, without the scheme's default port."""
    return netloc.lower().removesuffix({"https": ":443", "http": ":80"}.get(scheme, ""))


def _canonical_headers(headers: Mapping[str, str], host: str) -> dict[str, str]:
    found = {name.lower(): _SPACES.sub(" ", value.strip(" ")) for name, value in headers.items()}
    found["host"] = host
    return dict(sorted(found.items()))


def _canonical_path(path: str) -> str:
    """Normalise the path and encode it once more than it is sent, as every AWS service but S3 expects."""
    segments: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(segment)
    trailing = "/" if segments and path.endswith("/") else ""
    return quote(f"/{'/'.join(segments)}{trailing}", safe="/~")


def _canonical_query(query: str) -> str:
    """Sort by name and then by value; a name without a value has an empty one."""
    pairs = sorted(part.partition("=")[::2] for part in query.split("&")) if query else []
    return "&".join(f"{name}={value}" for name, value in pairs)
