"""Identifiers: `<prefix>_` and a UUIDv7 (RFC 9562, section 5.7) in lower-case base32hex.

They sort by creation time, are safe as one token of a NATS subject, and carry no meaning beyond their prefix.
"""

import base64
import os
import re
import time
import uuid
from typing import Annotated

from pydantic import Field

from keyferry.contracts.text import Identifier, Line, Refusing

_BASE32_LENGTH = 26

REQUEST = "req"
ATTEMPT = "att"
DECISION = "dec"
CLIENT_TOKEN = "tok"  # noqa: S105 - the prefix of an id, not a token
PROVIDER_KEY = "key"
DATA_KEY = "dek"
AUDIT_EVENT = "aud"
INSTANCE = "inst"
SPOOL = "spl"
CHANNEL = "chn"
WEBHOOK_ENDPOINT = "whe"
DELIVERY = "dlv"
REPORT = "rep"
BUDGET = "bud"
MEMBER = "mem"
INVITATION = "inv"
USER = "usr"
SESSION = "ses"
ALERT_RULE = "alr"
ALERT = "alt"
PURCHASE = "pur"
INTEGRATION_SECRET = "isec"  # noqa: S105 - the prefix of an id, not a secret

TENANT_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"
NAME_PATTERN = TENANT_PATTERN

_NAME_FORM = "a-z 0-9 and -, with a letter or digit at both ends"

TenantId = Annotated[str, Refusing(63, pattern=TENANT_PATTERN, form=_NAME_FORM, no_key=True)]
"""A tenant's short name: 1 to 63 of `a-z 0-9 -`, so that it is one subject token and readable in a trace."""

EndpointName = Annotated[str, Refusing(63, pattern=NAME_PATTERN, form=_NAME_FORM, no_key=True)]

ModelName = Annotated[str, Refusing(200, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces")]
"""A provider's name for a model: printable ASCII without spaces."""

ChosenModel = Annotated[
    str, Refusing(200, pattern=r"^[\x21-\x7e]+$", form="printable ASCII without spaces", no_key=True)
]
"""A name for a model that somebody chose."""

ProviderName = Annotated[str, Refusing(63, pattern=r"^[a-z0-9_-]+$", form="a-z 0-9 _ and -")]

KeyId = Annotated[str, Refusing(64, 5, pattern=r"^[a-z0-9_]+$", form="a-z 0-9 and _")]

Operation = Annotated[str, Refusing(64, pattern=r"^[A-Za-z0-9_.-]+$", form="A-Z a-z 0-9 _ . and -", no_key=True)]
"""What a request is for, as its caller names it."""

Reference = Annotated[str, Refusing(64, pattern=r"^[A-Za-z0-9_.-]+$", form="A-Z a-z 0-9 _ . and -", no_key=True)]
"""A name from the tenant's own systems: of a team, a member, or a conversation."""

Actor = Identifier
"""Who acts, for the audit: `operator`, `console:operator`, `vault`, `provider-worker-1`."""

MAX_TAGS = 16
Tags = Annotated[
    dict[Operation, Annotated[str, Refusing(256, min_characters=0, no_key=True)]], Field(max_length=MAX_TAGS)
]
"""A caller's own marks of a request; names are like operations."""

KeyFields = Annotated[dict[Line, Annotated[str, Refusing(500, min_characters=0, no_key=True)]], Field(max_length=16)]
"""What a provider needs besides the key and is no secret."""

_TENANT = re.compile(TENANT_PATTERN)
_TIME_LENGTH = 10
"""Characters of an id after its prefix that hold its time: 48 bits, and two that are the same in each UUIDv7."""
_TIME_SHIFT = 16


def new(prefix: str, *, unix_ms: int | None = None) -> str:
    """Return a new id. `unix_ms` sets its time part, for ids that must sort at a given moment."""
    stamp = time.time_ns() // 1_000_000 if unix_ms is None else unix_ms
    raw = bytearray(stamp.to_bytes(6, "big") + os.urandom(10))
    raw[6] = 0x70 | (raw[6] & 0x0F)
    raw[8] = 0x80 | (raw[8] & 0x3F)
    return f"{prefix}_{base64.b32hexencode(raw)[:_BASE32_LENGTH].decode().lower()}"


def first_at(prefix: str, unix_ms: int) -> str:
    """Return the beginning of the ids of a moment: in the order of bytes it precedes every id made then or later."""
    stamp = (unix_ms << _TIME_SHIFT).to_bytes(8, "big")
    return f"{prefix}_{base64.b32hexencode(stamp)[:_TIME_LENGTH].decode().lower()}"


def unix_ms_of(identifier: str) -> int:
    """Return the time of an id, or of its beginning. Raises ValueError when it contains none."""
    _, _, text = identifier.rpartition("_")
    if len(text) < _TIME_LENGTH or not text.isascii():
        raise ValueError("this is not the beginning of an id")
    stamp = base64.b32hexdecode(f"{text[:_TIME_LENGTH]}000===".upper())
    return int.from_bytes(stamp, "big") >> _TIME_SHIFT


def to_uuid(identifier: str) -> uuid.UUID:
    """Return the UUIDv7 of an id. Raises ValueError when it contains none."""
    _, _, text = identifier.rpartition("_")
    if len(text) != _BASE32_LENGTH:
        raise ValueError(f"{identifier!r} is not an id: want a prefix, '_' and {_BASE32_LENGTH} characters")
    return uuid.UUID(bytes=base64.b32hexdecode(text.upper() + "======"))


def is_tenant_id(text: str) -> bool:
    """Return whether `text` can name a tenant."""
    return _TENANT.fullmatch(text) is not None
