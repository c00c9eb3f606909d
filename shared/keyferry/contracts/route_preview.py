"""What the router would decide about a request, without sending it. Pure."""

from pydantic import Field

from keyferry.contracts.chat import OwnKeys
from keyferry.contracts.envelope import Command
from keyferry.contracts.features import PowerLevel, RequestFeatures
from keyferry.contracts.ids import ChosenModel, Operation, Reference, Tags, TenantId
from keyferry.contracts.text import Identifier
from keyferry.contracts.usage import RequestKind


class ExplainRoute(Command):
    """Request the decision about a request as of now. Nothing is sent, held or recorded, and limits are not looked at."""

    tenant: TenantId
    model: ChosenModel
    """The caller's name for it, which may be a level, `auto` or `default`."""
    kind: RequestKind = RequestKind.CHAT
    features: RequestFeatures = RequestFeatures()
    power_level: PowerLevel | None = None
    prefer_own_keys: OwnKeys | None = None
    operation: Operation | None = None
    tags: Tags = Field(default_factory=dict)
    team: Reference | None = None
    member: Reference | None = None
    client_token_id: Identifier | None = None
    allowed_models: list[ChosenModel] | None = None
    """The models that the client token may use; null for all."""
