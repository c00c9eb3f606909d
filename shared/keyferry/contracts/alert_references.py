"""Messages by which the ledger asks whether there is what alert rules name: the owners of teams, tokens and models know. Pure."""

from typing import Annotated

from pydantic import Field

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.envelope import Message
from keyferry.contracts.ids import ProviderName, TenantId
from keyferry.contracts.text import Explanation, Identifier

MAX_REFERENCES = 2000
"""Most names in one request: more than the rules of a tenant can have."""


class AlertReference(Message):
    """What a rule is limited to, by its name or id."""

    field: ScopeField
    value: Identifier
    provider: ProviderName | None = None
    """Of a model: at which provider; null for any."""


class MissingReference(AlertReference):
    """Something that a rule names and that does not exist, or not any more."""

    reason: Explanation
    """What is missing, without what to do: `there is no team research (any more)`."""


class CheckReferences(Message):
    """Request which of these do not exist. Fields that the recipient knows nothing about are not in the answer."""

    tenant: TenantId
    references: Annotated[list[AlertReference], Field(max_length=MAX_REFERENCES)]


class MissingReferences(Message):
    """Those that do not exist."""

    missing: list[MissingReference]
