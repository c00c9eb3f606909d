"""Signatures of webhooks by Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body. Pure."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

from keyferry.contracts.secret import Secret
from keyferry.contracts.webhooks import SECRET_PREFIX

_LEAST_BYTES, _MOST_BYTES = 24, 64


class UnusableSecret(ValueError):
    """A webhook secret that cannot sign anything."""


def headers_of(event_id: str, at: datetime, body: bytes, secrets: Sequence[Secret]) -> dict[str, str]:
    """Return the headers of one attempt, with one signature for each secret. Raises UnusableSecret."""
    timestamp = str(int(at.timestamp()))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    signatures = (hmac.new(_key_of(secret), signed, hashlib.sha256).digest() for secret in secrets)
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures),
    }


def _key_of(secret: Secret) -> bytes:
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise UnusableSecret("the secret of the endpoint is not base64 after whsec_: rotate it") from None
    if not _LEAST_BYTES <= len(key) <= _MOST_BYTES:
        raise UnusableSecret(f"the secret of the endpoint has not {_LEAST_BYTES} to {_MOST_BYTES} bytes: rotate it")
    return key
