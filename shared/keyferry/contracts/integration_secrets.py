"""Messages about integration secrets: what the installation signs in with at Stripe, Lago, a mail server or a chat.

No message here can hold a secret in clear text. In transit it is sealed (`keyferry.sealing`): to the vault's intake key on its
way in, to a short-lived key of the one process that reads it on its way out. An owner is a tenant, or `platform` for what the
operator uses itself. Pure.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.key import Base64
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.contracts.text import Identifier, Line, Moment, Ordinal, Refusing

MAX_OVERLAP_SECONDS = 30 * 24 * 3600
USUAL_OVERLAP_SECONDS = 24 * 3600
MAX_SECRETS = 1000
"""Most integration secrets of one owner."""

SecretId = Annotated[str, Refusing(64, 6, pattern=r"^isec_[a-z0-9]+$", form="isec_ and a-z 0-9")]
SecretName = Annotated[str, Refusing(100, no_key=True, visible=True)]
OverlapSeconds = Annotated[int, Strict(), Field(ge=0, le=MAX_OVERLAP_SECONDS)]


class IntegrationKind(StrEnum):
    """What an integration secret is for."""

    STRIPE_API_KEY = "stripe_api_key"
    STRIPE_WEBHOOK_SECRET = "stripe_webhook_secret"  # noqa: S105 - the name of a kind, not a secret
    LAGO_API_KEY = "lago_api_key"
    SMTP_PASSWORD = "smtp_password"  # noqa: S105 - the name of a kind, not a secret
    SLACK_WEBHOOK_URL = "slack_webhook_url"
    """The whole address of an incoming webhook: anybody who has it may post."""
    WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of a kind, not a secret
    """What the messages to an endpoint of the owner are signed with."""
    OPENAI_ADMIN_KEY = "openai_admin_key"
    ANTHROPIC_ADMIN_KEY = "anthropic_admin_key"
    OPENROUTER_MANAGEMENT_KEY = "openrouter_management_key"


BILLING_KINDS = frozenset(
    {
        IntegrationKind.STRIPE_API_KEY,
        IntegrationKind.STRIPE_WEBHOOK_SECRET,
        IntegrationKind.LAGO_API_KEY,
        IntegrationKind.OPENAI_ADMIN_KEY,
        IntegrationKind.ANTHROPIC_ADMIN_KEY,
        IntegrationKind.OPENROUTER_MANAGEMENT_KEY,
    }
)
"""What the billing service may read."""
NOTIFIER_KINDS = frozenset(
    {IntegrationKind.SMTP_PASSWORD, IntegrationKind.SLACK_WEBHOOK_URL, IntegrationKind.WEBHOOK_SECRET}
)
"""What the notifier may read."""
PLATFORM_KINDS = frozenset(
    {
        IntegrationKind.STRIPE_API_KEY,
        IntegrationKind.STRIPE_WEBHOOK_SECRET,
        IntegrationKind.LAGO_API_KEY,
        IntegrationKind.SMTP_PASSWORD,
    }
)
"""What only the platform has; a tenant has the other kinds, and the platform may have those as well."""
REPEATABLE_KINDS = frozenset({IntegrationKind.SLACK_WEBHOOK_URL, IntegrationKind.WEBHOOK_SECRET})
"""Of which an owner may have several. Of the others it has one, which is read by its kind."""


class IntegrationSecret(Message):
    """What people and the management API see of an integration secret: never the secret itself."""

    secret_id: SecretId
    tenant: TenantId
    """Its owner; `platform` for the operator's own."""
    kind: IntegrationKind
    name: SecretName
    masked: Line
    """Its first and last characters, `whsec_…A9f2`; `…` alone for a password."""
    fingerprint: Identifier
    """16 hex digits of a keyed hash: equal for equal secrets of an owner, and it reveals nothing about the secret."""
    version: Ordinal
    """Grows with each rotation."""
    created_at: Moment
    created_by: Actor
    rotated_at: Moment | None = None
    """When the secret in use was put in; null for the one that it was added with."""
    rotated_by: Actor | None = None
    previous_until: Moment | None = None
    """Until then the version before the last rotation is valid as well; null if there is none."""


class SaveIntegrationSecret(Command):
    """Add an integration secret, sealed to the intake key for this owner and kind. `actor` is audited."""

    tenant: TenantId
    kind: IntegrationKind
    name: SecretName
    sealed: Base64
    actor: Actor = "operator"

    @model_validator(mode="after")
    def _check_owner(self) -> "SaveIntegrationSecret":
        if self.tenant != PLATFORM_TENANT and self.kind in PLATFORM_KINDS:
            raise PydanticCustomError("kind", "only the platform has a secret of this kind: name the tenant `platform`")
        return self


class RotateIntegrationSecret(Command):
    """Replace an integration secret; the previous version stays valid for `overlap_seconds` and is then destroyed."""

    tenant: TenantId
    secret_id: SecretId
    sealed: Base64
    overlap_seconds: OverlapSeconds = USUAL_OVERLAP_SECONDS
    actor: Actor = "operator"


class RemoveIntegrationSecret(Command):
    """Destroy an integration secret with all its versions."""

    tenant: TenantId
    secret_id: SecretId
    actor: Actor = "operator"


class IntegrationSecretRemoved(Message):
    """The secret that was destroyed."""

    secret: IntegrationSecret


class ListIntegrationSecrets(Command):
    """Request the integration secrets of an owner, masked."""

    tenant: TenantId
    kind: IntegrationKind | None = None
    """Null for all."""
    secret_id: SecretId | None = None
    """Only this one."""


class IntegrationSecretList(Message):
    """An owner's integration secrets, in the order in which they were added."""

    tenant: TenantId
    secrets: Annotated[list[IntegrationSecret], Field(max_length=MAX_SECRETS)]


class LeaseIntegrationSecret(Message):
    """Request a secret, sealed to `public_key`, which the process `instance_id` made for itself a short while ago.

    `nonce` is random and is bound into the seal, so that an answer fits one request only.
    """

    tenant: TenantId
    kind: IntegrationKind
    secret_id: SecretId | None = None
    """Null for the only secret of a kind that is not repeatable."""
    instance_id: Identifier
    suite: Identifier
    public_key: Base64
    nonce: Base64

    @model_validator(mode="after")
    def _require_id(self) -> "LeaseIntegrationSecret":
        if self.secret_id is None and self.kind in REPEATABLE_KINDS:
            raise PydanticCustomError("secret_id", "there may be several of this kind: name one by its id")
        return self


class IntegrationSecretLease(Message):
    """A secret for one process: each version sealed to its public key."""

    tenant: TenantId
    kind: IntegrationKind
    secret_id: SecretId
    version: Ordinal
    sealed: Base64
    previous_version: Ordinal | None = None
    """The version before the last rotation, while that is valid."""
    previous_sealed: Base64 | None = None
    previous_until: Moment | None = None
