"""Messages about the vault as a whole: KEK and data key rotation, verification and shredding. Pure."""

from datetime import datetime

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.key import Actor


class RotateKek(Command):
    """Re-encrypt every data key under the primary KEK, in the background; or report the progress."""

    start: bool = True
    renew: bool = False
    """Have the KEK provider create a new primary KEK first."""
    actor: Actor = "operator"


class KekAgeReport(Message):
    """The age of the oldest KEK in use: the primary, or one that still encrypts a data key."""

    kek: str
    since: datetime
    """When the vault first saw it in use."""
    age_days: int = Field(ge=0)
    due_at: datetime | None = None
    """When it is due for rotation; null for never."""
    overdue: bool = False
    """Whether the operator has to act: it is due, and the vault does not or cannot rotate it by itself."""
    detail: str
    """What happens next, or what to do."""


class KekRotation(Message):
    """The progress of a rotation. `left` counts data keys that are still under another KEK than the primary."""

    primary: str
    total: int = Field(ge=0)
    left: int = Field(ge=0)
    running: bool
    by_kek: dict[str, int]
    failed: list[str] = Field(default_factory=list)
    """Data keys that could not be decrypted, by id."""
    oldest_kek: KekAgeReport | None = None
    """The age of the oldest KEK in use."""


class RotateDataKeys(Command):
    """Re-encrypt a tenant's keys under a new data key."""

    tenant: TenantId
    actor: Actor = "operator"


class VerifyVault(Command):
    """Decrypt every record and report which cannot be."""

    tenant: TenantId | None = None


class VaultReport(Message):
    """The result of a verification. `undecryptable` are key ids."""

    records: int = Field(ge=0)
    data_keys: int = Field(ge=0)
    undecryptable: list[str] = Field(default_factory=list)
    keks: dict[str, int] = Field(default_factory=dict)
    """KEK -> number of data keys that it encrypts."""
    primary: str


class ShredTenant(Command):
    """Destroy a tenant's data keys, and with them all its provider keys, irrecoverably."""

    tenant: TenantId
    confirm: TenantId
    """The tenant's name again."""
    actor: Actor = "operator"


class Shredded(Message):
    """What was destroyed."""

    tenant: TenantId
    keys: int
    data_keys: int
