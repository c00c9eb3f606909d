"""Messages about the vault as a whole: KEK and data key rotation, verification and shredding. Pure."""

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import TenantId
from keyferry.contracts.key import Actor
from keyferry.contracts.text import Count, Explanation, Identifier, Line, Moment


class RotateKek(Command):
    """Re-encrypt every data key under the primary KEK, in the background; or report the progress."""

    start: bool = True
    renew: bool = False
    """Have the KEK provider create a new primary KEK first."""
    actor: Actor = "operator"


class KekAgeReport(Message):
    """The age of the oldest KEK in use: the primary, or one that still encrypts a data key."""

    kek: Line
    since: Moment
    """When the vault first saw it in use."""
    age_days: Count
    due_at: Moment | None = None
    """When it is due for rotation; null for never."""
    overdue: bool = False
    """Whether the operator has to act: it is due, and the vault does not or cannot rotate it by itself."""
    detail: Explanation
    """What happens next, or what to do."""


class KekRotation(Message):
    """The progress of a rotation. `left` counts data keys that are still under another KEK than the primary."""

    primary: Line
    total: Count
    left: Count
    running: bool
    by_kek: dict[Line, Count]
    failed: list[Identifier] = Field(default_factory=list)
    """Data keys that could not be decrypted, by id."""
    oldest_kek: KekAgeReport | None = None
    """The age of the oldest KEK in use."""


class RotateDataKeys(Command):
    """Re-encrypt a tenant's keys and integration secrets under a new data key."""

    tenant: TenantId
    actor: Actor = "operator"


class VerifyVault(Command):
    """Decrypt every record and report which cannot be."""

    tenant: TenantId | None = None


class VaultReport(Message):
    """The result of a verification. `undecryptable` are ids of keys and integration secrets."""

    records: Count
    data_keys: Count
    undecryptable: list[Identifier] = Field(default_factory=list)
    keks: dict[Line, Count] = Field(default_factory=dict)
    """KEK -> number of data keys that it encrypts."""
    primary: Line


class ShredTenant(Command):
    """Destroy a tenant's data keys, and with them all its provider keys and integration secrets, irrecoverably."""

    tenant: TenantId
    confirm: TenantId
    """The tenant's name again."""
    actor: Actor = "operator"


class Shredded(Message):
    """What was destroyed."""

    tenant: TenantId
    keys: Count
    integration_secrets: Count = 0
    data_keys: Count
