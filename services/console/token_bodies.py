"""Request bodies about client tokens. Pure."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, Strict, StrictBool
from pydantic import model_validator as validator_of_model
from pydantic_core import PydanticCustomError

from keyferry.contracts.client_token_use import MAX_OVERLAP_SECONDS
from keyferry.contracts.ids import Reference
from keyferry.contracts.limits import LimitChanges
from keyferry.contracts.tenancy import Label, TokenSearch, TokenState
from keyferry.contracts.text import Identifier
from keyferry.contracts.token_scope import AllowedApis, AllowedModels, AllowedOperations, AllowedOrigins
from services.console.bodies import Body, GivenMoment, NotNull, Paging

TOKEN_ID_PATTERN = r"^tok_[0-9a-v]{26}$"  # noqa: S105 - the form of an id, not a token
_CLEARABLE = ("allowed_models", "allowed_operations", "allowed_apis", "allowed_origins", "expires_at")
_DAY_SECONDS = 24 * 3600


class TokenOrder(StrEnum):
    """By when client tokens were created."""

    OLDEST = "oldest"
    NEWEST = "newest"


class TokenListQuery(Paging):
    """Which of a tenant's client tokens to return."""

    after: Identifier | None = None
    member: Reference | None = None
    """The id of a member."""
    team: Reference | None = None
    state: TokenState | None = None
    text: TokenSearch | None = None
    """Part of a label, id, last characters, team or member; never a token."""
    order: TokenOrder = TokenOrder.OLDEST


class CreateTokenBody(Body):
    """A client token to create. The console generates the token itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"label": "billing service", "allowed_models": ["gpt-4o-mini"], "allowed_operations": ["invoice"]}
            ]
        }
    )

    label: Label
    """What it is for."""
    allowed_models: AllowedModels | None = None
    """The models that it may use; null for all."""
    allowed_operations: AllowedOperations | None = None
    """The values of `X-Operation` that its requests may have; null for any, and for none."""
    allowed_apis: AllowedApis | None = None
    """The APIs that it may call; null for all."""
    allowed_origins: AllowedOrigins | None = None
    """The web pages that may use it; null for all. What sends no `Origin`, as programs do, may always use it."""
    team: Reference | None = None
    """The team whose preferences its requests have."""
    member: Reference | None = None
    """The member whose preferences its requests have."""
    expires_at: GivenMoment | None = None
    """With a time zone, such as `2027-01-31T12:00:00Z`; null for never."""
    limits: LimitChanges | None = None
    """Limits of its own; the tenant's apply as well."""


class UpdateTokenBody(Body):
    """Changes to a client token: omitted fields stay as they are, and null removes a restriction (RFC 7396)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"limits": {"rpm": 20, "concurrency": "default"}}, {"disabled": True}]}
    )

    label: Annotated[Label | None, NotNull] = None
    disabled: Annotated[StrictBool | None, NotNull] = None
    """Whether it is refused, until it is enabled again."""
    allowed_models: AllowedModels | None = None
    allowed_operations: AllowedOperations | None = None
    allowed_apis: AllowedApis | None = None
    allowed_origins: AllowedOrigins | None = None
    expires_at: GivenMoment | None = None
    limits: Annotated[LimitChanges | None, NotNull] = None
    """Limits of its own: a number, `unlimited`, or `default` for none; omitted ones stay. The tenant's apply as well."""

    @validator_of_model(mode="after")
    def _require_change(self) -> "UpdateTokenBody":
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing to change: give at least one field")
        return self

    def changes(self) -> dict[str, object]:
        """Return the fields of `UpdateClientToken` that are set; `clear` lists the restrictions to remove."""
        cleared = [name for name in _CLEARABLE if name in self.model_fields_set and getattr(self, name) is None]
        changes = {name: getattr(self, name) for name in self.model_fields_set if name not in cleared}
        return changes | ({"clear": cleared} if cleared else {})


class RotateTokenBody(Body):
    """How long a client token's old secret is accepted beside the new one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": _DAY_SECONDS}]})

    overlap_seconds: Annotated[int, Strict(), Field(ge=0, le=MAX_OVERLAP_SECONDS)] = _DAY_SECONDS
    """0 ends all older secrets at once."""
