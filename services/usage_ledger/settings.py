"""Settings of the usage ledger."""

from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from pydantic import Field

from keyferry.billing.plan import BUNDLED_PLAN
from keyferry.pricing.file import BUNDLED_PRICES
from keyferry.runtime.billing import load_plan
from keyferry.runtime.prices import load_prices
from keyferry.runtime.process.settings import DatabaseSettings, SecretFile, SettingsError, read_secret
from keyferry.sealing.framing import from_base64
from keyferry.sealing.private_keys import BadKeyFile, opening_key
from services.usage_ledger.partitions.months import Retention

_SHORTEST_ATTEMPTS_DAYS = 62


class LedgerSettings(DatabaseSettings):
    """Settings of a usage ledger process."""

    price_file: Path = BUNDLED_PRICES
    """Overrides of list prices, as in the bundled `prices.toml`."""
    billing_file: Path = BUNDLED_PLAN
    """What tenants are charged: the same file as the router's."""
    audit_key_file: SecretFile
    """The Ed25519 key, raw and in base64url, that signs the heads of the audit chains."""
    credit_key_file: SecretFile
    """The Ed25519 key, raw and in base64url, that certifies leases of credit for the key vault."""
    content_key_file: SecretFile | None = None
    """The X25519 key, raw and in base64url, that stored content is sealed to and encrypted under. None stores none."""
    database_replica_url_file: SecretFile | None = None
    """The URL of a standby, for queries of usage and of the request log."""
    database_replica_max_lag_seconds: Annotated[float, Field(ge=3, le=3600)] = 10.0
    """How far it may be behind; otherwise the primary is asked."""
    retention_attempts_days: Annotated[int, Field(ge=0)] = 400
    """How long attempts are kept at least; 0 for ever. A whole month leaves once all of it is older."""
    retention_decisions_days: Annotated[int, Field(ge=0)] = 30
    """The same for decisions."""
    retention_detached_days: Annotated[int, Field(ge=0)] = 0
    """How long a month that has left its table is kept before it is dropped; 0 for ever."""

    def retention(self) -> Retention:
        """Return the retention. Raises SettingsError."""
        if 0 < self.retention_attempts_days < _SHORTEST_ATTEMPTS_DAYS:
            raise SettingsError(
                f"KEYFERRY_RETENTION_ATTEMPTS_DAYS is {self.retention_attempts_days}: set it to 0 for ever, or to at least"
                f" {_SHORTEST_ATTEMPTS_DAYS}. A worker repeats records until they are confirmed, and an attempt that has left"
                " its table would count again"
            )
        days = (self.retention_attempts_days, self.retention_decisions_days, self.retention_detached_days)
        return Retention(*(one or None for one in days))

    request_deadline_seconds: float = Field(default=600.0, gt=0, le=3600)
    """How long an attempt may last, as ingress allows it: usage is complete up to that before the newest record."""

    def check_files(self) -> None:
        """Check the key, the billing file, and the price file unless it is the bundled one. Raises SettingsError."""
        super().check_files()
        self.audit_key()
        self.credit_key()
        self.content_key()
        self.retention()
        if self.price_file != BUNDLED_PRICES:
            load_prices(self.price_file)
        load_plan(self.billing_file)

    def audit_key(self) -> Ed25519PrivateKey:
        """Read the key. Raises SettingsError."""
        return _signing_key(self.audit_key_file, "audit key")

    def credit_key(self) -> Ed25519PrivateKey:
        """Read the key that certifies leases. Raises SettingsError."""
        return _signing_key(self.credit_key_file, "credit key")

    def content_key(self) -> X25519PrivateKey | None:
        """Read the key of stored content. Raises SettingsError."""
        file = self.content_key_file
        if file is None:
            return None
        try:
            return opening_key(read_secret(file))
        except BadKeyFile as error:
            raise SettingsError(
                f"{file}: {error}. Restore it from a backup: stored content is lost without it"
            ) from None


def _signing_key(file: Path, name: str) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(from_base64(read_secret(file).reveal()))
    except ValueError:
        raise SettingsError(
            f"{file} holds no {name}: it must be 32 bytes in base64url without padding; restore it from a backup"
        ) from None
