"""The secrets between the doubles and the services, in files of one directory: made once, then kept."""

import secrets
import string
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.home import ensure_secret
from keyferry.contracts.secret import Secret
from keyferry.runtime.process.settings import read_secret

_ALPHABET = string.ascii_letters + string.digits
_FILES: dict[str, Callable[[], str]] = {
    "stripe-api-key": lambda: f"sk_test_{_random(48)}",
    "stripe-webhook-secret": lambda: f"whsec_{_random(32)}",
    "lago-api-key": lambda: str(uuid.UUID(bytes=secrets.token_bytes(16))),
}


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


@dataclass(frozen=True, slots=True)
class DemoSecrets:
    """What the doubles take as keys, and what Stripe's double signs webhooks with."""

    stripe_api_key: Secret
    stripe_webhook_secret: Secret
    lago_api_key: Secret

    @classmethod
    def ensure(cls, directory: Path) -> "DemoSecrets":
        """Return the secrets of a directory, which are made if they are missing. Raises OSError and SettingsError."""
        found = (read_secret(ensure_secret(directory / name, make)) for name, make in _FILES.items())
        return cls(*found)
