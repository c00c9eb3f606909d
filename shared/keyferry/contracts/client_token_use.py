"""Rotation of client tokens, and reports of their use. Pure."""

from pydantic import Field

from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.tenancy import Digest, LastFour
from keyferry.contracts.text import Identifier, Moment

MAX_OVERLAP_SECONDS = 30 * 24 * 3600
MAX_REPORTED_USES = 1000


class RotateClientToken(Command):
    """Give a client token a new secret, which the caller has minted; its id and all that belongs to it stay.

    Only the digest travels, as for a new token.
    """

    tenant: TenantId
    token_id: Identifier
    actor: Actor = "operator"
    """Who does it, for the audit."""
    digest: Digest
    last4: LastFour
    overlap_seconds: int = Field(ge=0, le=MAX_OVERLAP_SECONDS)
    """How long the secret before it is accepted, too; 0 ends all older secrets at once."""


class EndTokenOverlap(Command):
    """Stop accepting the secret before a client token's current one."""

    tenant: TenantId
    token_id: Identifier
    actor: Actor = "operator"
    """Who does it, for the audit."""


class ClientTokenUse(Message):
    """When a client token was last accepted."""

    tenant: TenantId
    token_id: Identifier
    used_at: Moment


class ClientTokensUsed(Message):
    """The client tokens that an ingress has accepted since its last report."""

    uses: list[ClientTokenUse] = Field(max_length=MAX_REPORTED_USES)
