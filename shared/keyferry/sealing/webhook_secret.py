"""New secrets of webhook endpoints, made by the program that shows them: 32 random bytes after `whsec_`."""

import base64
import secrets

from keyferry.contracts.secret import Secret
from keyferry.contracts.webhooks import SECRET_PREFIX

_SECRET_BYTES = 32


def mint_webhook_secret() -> Secret:
    """Return a new secret in the form of Standard Webhooks."""
    return Secret(SECRET_PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode())
