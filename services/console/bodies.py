"""What comes in: the bodies and queries of the management API. Unknown fields are refused. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema
from pydantic import model_validator as validator_of_model
from pydantic_core import PydanticCustomError

from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.ids import ModelName
from keyferry.contracts.key import Actor, Base64, Provider
from keyferry.contracts.money import usd
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import Label, Tier

_LONGEST_KEY = 16_384
"""Characters; beyond that it is no key."""
_SHORTEST_SEALED = 64
"""Characters: an encapsulated X25519 key and a tag of AES-GCM are 48 bytes, and the key comes on top."""
_TELLING_PREFIXES = tuple(prefix for row in PROVIDERS.values() for prefix in row.prefixes if len(prefix) >= 6)
"""What sealed texts, which are random, begin with less than once in 10**10 times."""
_CLEARABLE = ("allowed_models", "expires_at", "monthly_limit_usd")
DEFAULT_PAGE = 100
LARGEST_PAGE = 1000


def _secret(value: object) -> Secret:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_KEY or not value.isascii():
        raise PydanticCustomError("key", "this must be the key as one text of printable ASCII characters")
    return Secret(value)


def _amount(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = usd(value)
    except ValueError:  # its words repeat the value
        amount = Decimal(-1)
    if amount < 0:
        raise PydanticCustomError("amount", 'this must be an amount of US dollars as text, such as "50" or "12.50"')
    return amount


ClearKey = Annotated[
    Secret,
    PlainValidator(_secret),
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True, "maxLength": _LONGEST_KEY}),
]
"""A provider key in clear: only between the client and the console, over TLS."""
MonthlyLimit = Annotated[
    Decimal | None,
    PlainValidator(_amount),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["12.50"]}, {"type": "integer"}, {"type": "null"}]}),
]
FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]{0,39}$")]
Priority = Annotated[int, Field(ge=0, le=1000)]
Weight = Annotated[int, Field(ge=1, le=1000)]
AllowedModels = Annotated[list[ModelName], Field(min_length=1, max_length=1000)]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


def _may_be_sealed(text: str) -> bool:
    """Whether a text has the length of a sealed key, and does not begin as only a key in clear would."""
    return len(text) >= _SHORTEST_SEALED and not text.startswith(_TELLING_PREFIXES)


class CarriedKey(Body):
    """A provider key: `sealed` by the client to the intake key, or as `key` in clear. Exactly one of both."""

    key: ClearKey | None = None
    sealed: Base64 | None = None

    @validator_of_model(mode="after")
    def _one_of_both(self) -> "CarriedKey":
        if (self.key is None) == (self.sealed is None):
            raise PydanticCustomError("one_key", "give the key either as `key` or as `sealed`, and not as both")
        if self.sealed is not None and not _may_be_sealed(self.sealed):
            # Whatever stands here goes over the bus as it is.
            raise PydanticCustomError(
                "sealed", "`sealed` is for a key that is sealed to the intake key; send this as `key`"
            )
        return self


class TryKeyBody(CarriedKey):
    """A key to test without storing it."""

    provider: Provider
    base_url: Annotated[str, StringConstraints(max_length=2000)] | None = None
    """Where it is used; needed where the provider has no address of its own."""
    fields: Annotated[dict[FieldName, Annotated[str, StringConstraints(max_length=500)]], Field(max_length=16)] = {}
    """What the provider needs beside the key: `GET /providers` tells."""


class AddKeyBody(TryKeyBody):
    """A key to store."""

    label: Label
    priority: Priority = 100
    weight: Weight = 1
    allowed_models: AllowedModels | None = None
    expires_at: datetime | None = None
    monthly_limit_usd: MonthlyLimit = None
    save_untested: bool = False
    """Store it also where its test could not tell anything."""


class RotateKeyBody(CarriedKey):
    """The key to put in a stored key's place."""

    save_untested: bool = False


def _not_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "this cannot be null; leave it out to keep what is set")
    return value


_Set = BeforeValidator(_not_null)


class EditKeyBody(Body):
    """What changes of a stored key: what is left out stays, and null takes a restriction away (RFC 7396)."""

    label: Annotated[Label | None, _Set] = None
    priority: Annotated[Priority | None, _Set] = None
    weight: Annotated[Weight | None, _Set] = None
    disabled: Annotated[bool | None, _Set] = None
    allowed_models: AllowedModels | None = None
    expires_at: datetime | None = None
    monthly_limit_usd: MonthlyLimit = None

    @validator_of_model(mode="after")
    def _something(self) -> "EditKeyBody":
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing is to change: give at least one field")
        return self

    def changes(self) -> dict[str, object]:
        """The fields of `EditKey` that it says, with `clear` naming the restrictions that go."""
        cleared = [name for name in _CLEARABLE if name in self.model_fields_set and getattr(self, name) is None]
        return {name: getattr(self, name) for name in self.model_fields_set if name not in cleared} | {"clear": cleared}


class Paging(BaseModel):
    """Which part of a list: `after` is the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE)] = DEFAULT_PAGE
    after: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None


class KeyPaging(Paging):
    """The same for provider keys."""

    created_by: Actor | None = None
    """Only keys that this one added, or gave the secret in use of: those to rotate when somebody leaves."""


class AuditPaging(Paging):
    """The same for the audit, whose cursors are positions in the tenant's chain."""

    after: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,17}$")] | None = None


class ModelFilters(Paging):
    """What a list of models is narrowed to; what is left out does not filter."""

    filter: Annotated[str, StringConstraints(max_length=500)] | None = None
    """`eu`, `recommended`, `recommended:OPERATION` or `provider:NAME`; several separated by commas."""
    tier: Tier | None = None
    model_class: Annotated[ModelClass | None, Field(alias="class")] = None
    capability: Capability | None = None
    available: Literal["true", "all"] | None = None
    """`all` shows also approved models that the tenant cannot call."""
    approved: Literal["true", "all"] | None = None
    """`all` shows also what only the tenant's own keys list."""
    sort: ModelSort | None = None
