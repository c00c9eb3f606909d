"""Request bodies and query parameters of the management API. Unknown fields are rejected. Pure."""

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    StrictBool,
    WithJsonSchema,
)
from pydantic import model_validator as validator_of_model
from pydantic_core import PydanticCustomError

from keyferry.contracts.audit import ListAudit
from keyferry.contracts.catalog import Capability, ModelClass, ModelSort
from keyferry.contracts.ids import ChosenModel, EndpointName, Reference
from keyferry.contracts.key import Actor, Base64, KeySearch, KeyStatus, Provider
from keyferry.contracts.model_filter import InvalidFilter, filters_in
from keyferry.contracts.money import usd
from keyferry.contracts.own_credentials import SEALED_PREFIX
from keyferry.contracts.reconciliation import Day
from keyferry.contracts.route import ListModels
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import Label, Tier
from keyferry.contracts.text import BIGINT_MAX, GivenUrl, Identifier, Line, Moment, Refusing, to_zoned
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem

_LONGEST_KEY = 16_384
"""Characters; anything longer is not a key."""
_SHORTEST_SEALED = len(SEALED_PREFIX) + 64
"""Characters: an encapsulated X25519 key and an AES-GCM tag are 48 bytes, and the key itself adds more."""
_CLEARABLE = ("allowed_models", "expires_at", "monthly_limit_usd", "name", "team", "member")
DEFAULT_PAGE = 100
LARGEST_PAGE = 1000
_FILTER_FORMS = "filter takes eu, recommended, recommended:OPERATION or provider:NAME, several separated by commas"
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"[-+]?[0-9_.]*(?:[eE][-+]?[0-9]+)?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_JSON_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_OPENING, _CLOSING = b"[{", b"]}"


def exceeds_depth(data: bytes, limit: int) -> bool:
    """Return whether `data` nests more than `limit` JSON arrays and objects, even if it is not complete JSON.

    Check this before parsing: a recursive parser can be driven into its recursion limit.
    """
    depth = 0
    for byte in _JSON_STRINGS.sub(b"", data):
        if byte in _OPENING:
            depth += 1
            if depth > limit:
                return True
        elif byte in _CLOSING:
            depth -= 1
    return False


def _parse_secret(value: object) -> Secret:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_KEY or not value.isascii():
        raise PydanticCustomError("key", "this must be the key as one text of printable ASCII characters")
    return Secret(value)


def _parse_amount(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = usd(value)
    except ValueError:  # its text repeats the value
        amount = Decimal(-1)
    if amount < 0:
        raise PydanticCustomError("amount", 'this must be an amount of US dollars as text, such as "50" or "12.50"')
    return amount


def _reject_other_numbers(value: object) -> object:
    """Reject what pydantic reads as an integer beside digits, such as `1_0`, `+1` and `1.0`."""
    if isinstance(value, str) and not _INTEGER.fullmatch(value):
        raise PydanticCustomError("digits", "this must be an integer, in digits")
    return value


def _reject_other_moments(value: object) -> object:
    """Reject numbers, which pydantic reads as seconds or, if they are large, as milliseconds since 1970."""
    if value is not None and (not isinstance(value, str) or _NUMBER.fullmatch(value.strip())):
        raise PydanticCustomError(
            "moment", "this must be a date and time with its time zone, such as 2027-01-31T00:00:00Z"
        )
    return value


def _reject_other_days(value: object) -> object:
    """Reject numbers, which pydantic reads as seconds since 1970, and moments, which have a zone that is not asked for."""
    if value is not None and (not isinstance(value, str) or not _DAY.fullmatch(value)):
        raise PydanticCustomError("day", "this must be a day such as 2027-01-31")
    return value


IN_DIGITS = BeforeValidator(_reject_other_numbers)
"""Marks an integer in the query of a URL; after its limits, so that they stay in the OpenAPI document."""
GivenMoment = Annotated[Moment, BeforeValidator(_reject_other_moments)]
"""A point in time as ISO 8601 writes it."""
MomentInUtc = Annotated[GivenMoment, AfterValidator(to_zoned)]
"""The same, in UTC where no zone is given."""
GivenDay = Annotated[Day, BeforeValidator(_reject_other_days)]
"""A day in UTC as ISO 8601 writes it."""
ClearKey = Annotated[
    Secret,
    PlainValidator(_parse_secret),
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True, "maxLength": _LONGEST_KEY}),
]
"""A provider key in clear text: sent only from the client to the console, over TLS."""
MonthlyLimit = Annotated[
    Decimal | None,
    PlainValidator(_parse_amount),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["12.50"]}, {"type": "integer"}, {"type": "null"}]}),
]
FieldName = Annotated[str, Refusing(40, pattern=r"^[a-z][a-z_]{0,39}$", form="a-z and _")]
Revision = Annotated[int, Strict(), Field(ge=1, le=BIGINT_MAX)]
Priority = Annotated[int, Strict(), Field(ge=0, le=1000)]
Weight = Annotated[int, Strict(), Field(ge=1, le=1000)]
AllowedModels = Annotated[list[ChosenModel], Field(min_length=1, max_length=1000)]


class Body(BaseModel):
    """A request body."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)


def may_be_sealed(text: str) -> bool:
    """Return whether a text has the form of a sealed key."""
    return len(text) >= _SHORTEST_SEALED and text.startswith(SEALED_PREFIX)


class CarriedKey(Body):
    """A provider key: `sealed` by the client to the intake key, or `key` in clear text. Exactly one of the two."""

    key: ClearKey | None = None
    sealed: Base64 | None = None

    @validator_of_model(mode="after")
    def _require_one(self) -> "CarriedKey":
        if self.key is None and self.sealed is None:
            raise PydanticCustomError("one_key", "there is no key: give it as `key` in clear text, or as `sealed`")
        if self.key is not None and self.sealed is not None:
            raise PydanticCustomError("one_key", "give the key either as `key` or as `sealed`, not both")
        if self.sealed is not None and not may_be_sealed(self.sealed):
            # The value goes over the bus unchanged.
            raise PydanticCustomError(
                "sealed", "`sealed` is for a key that is sealed to the intake key; send this as `key`"
            )
        return self


class TryKeyBody(CarriedKey):
    """A key to test without storing it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"provider": "openai", "key": "sk-proj-EXAMPLE"}]})

    provider: Provider
    base_url: GivenUrl | None = None
    """Where the key is used; required for providers without a fixed address."""
    fields: Annotated[
        dict[FieldName, Annotated[str, Refusing(500, min_characters=0, no_key=True)]], Field(max_length=16)
    ] = {}
    """What the provider needs besides the key; `GET /providers` lists the fields."""


class AddKeyBody(TryKeyBody):
    """A key to store."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"provider": "openai", "label": "main", "key": "sk-proj-EXAMPLE", "monthly_limit_usd": "50"},
                {"provider": "custom", "label": "lab", "key": "EXAMPLE", "base_url": "https://llm.example.com/v1"},
            ]
        }
    )

    label: Label
    name: EndpointName | None = None
    """The name of the tenant's own server that it is for: `NAME/MODEL` calls it."""
    team: Reference | None = None
    """The team whose requests alone it pays for."""
    member: Reference | None = None
    """The member whose requests alone it pays for; not together with a team."""
    priority: Priority = 100
    weight: Weight = 1
    allowed_models: AllowedModels | None = None
    expires_at: GivenMoment | None = None
    monthly_limit_usd: MonthlyLimit = None
    save_untested: StrictBool = False
    """Store the key even if its test was inconclusive."""


class RotateKeyBody(CarriedKey):
    """The key that replaces a stored key."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "sk-proj-EXAMPLE"}]})

    save_untested: StrictBool = False


def _reject_null(value: object) -> object:
    if value is None:
        raise PydanticCustomError("null", "this cannot be null; leave it out to keep what is set")
    return value


NotNull = BeforeValidator(_reject_null)
"""Rejects null where it would have to mean something other than an omitted field."""


class EditKeyBody(Body):
    """Changes to a stored key: omitted fields stay as they are, and null removes a restriction (RFC 7396)."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"label": "production", "monthly_limit_usd": None}]})

    label: Annotated[Label | None, NotNull] = None
    name: EndpointName | None = None
    """The name of its own server; null takes it away."""
    team: Reference | None = None
    """The team whose requests alone it pays for, in place of a member."""
    member: Reference | None = None
    """The member whose requests alone it pays for, in place of a team."""
    priority: Annotated[Priority | None, NotNull] = None
    weight: Annotated[Weight | None, NotNull] = None
    disabled: Annotated[StrictBool | None, NotNull] = None
    allowed_models: AllowedModels | None = None
    expires_at: GivenMoment | None = None
    monthly_limit_usd: MonthlyLimit = None

    @validator_of_model(mode="after")
    def _require_change(self) -> "EditKeyBody":
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing to change: give at least one field")
        return self

    def changes(self) -> dict[str, object]:
        """Return the fields of `EditKey` that are set; `clear` lists the restrictions to remove."""
        cleared = [name for name in _CLEARABLE if name in self.model_fields_set and getattr(self, name) is None]
        return {name: getattr(self, name) for name in self.model_fields_set if name not in cleared} | {"clear": cleared}


class QueryParameters(BaseModel):
    """The parameters in the query of a route's URL."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class DeadLetterQuery(QueryParameters):
    """Which dead letters to return."""

    after: Annotated[int, Field(ge=0, le=BIGINT_MAX), IN_DIGITS] = 0
    """Only those with a greater number."""


class VerifyQuery(QueryParameters):
    """How much of the audit to verify."""

    full: bool = False
    """Recompute every entry, not only those since the last verification."""


class Paging(QueryParameters):
    """Which part of a list to return: `after` is the `next` of the previous page."""

    limit: Annotated[int, Field(ge=1, le=LARGEST_PAGE), IN_DIGITS] = DEFAULT_PAGE
    after: Annotated[str, Refusing(300)] | None = None


class KeyPaging(Paging):
    """Paging of provider keys."""

    created_by: Actor | None = None
    """Only keys that this actor added, or whose current secret the actor entered: those to rotate when somebody leaves."""


class KeyListQuery(KeyPaging):
    """Which of a tenant's provider keys to return."""

    provider: Provider | None = None
    status: KeyStatus | None = None
    text: KeySearch | None = None
    """Part of a label, id, masked key, fingerprint, server's name, team or member; never of a key."""


class AllKeysPaging(KeyPaging):
    """Paging of every tenant's provider keys, whose cursors are a tenant and a key's id."""

    after: (
        Annotated[str, Refusing(150, pattern=r"^[a-z0-9-]+\.[a-z0-9_]*$", form="the `next` of the page before")] | None
    ) = None


class AuditQuery(QueryParameters):
    """Which audit entries: those that match everything given."""

    actor: Identifier | None = None
    action: Annotated[str, Refusing(100, pattern=r"^[a-z]+(?:[._][a-z_]+)*$", form="words as in key.add")] | None = None
    """An action such as `key.add`, or its first word for all that begin with it."""
    target: Line | None = None
    since: GivenMoment | None = None
    """Inclusive; UTC without a zone."""
    until: GivenMoment | None = None
    """Exclusive; UTC without a zone."""

    def to_command(self, tenant: str, *, before: int | None, limit: int) -> ListAudit:
        """Return the ledger's query."""
        given = {name: getattr(self, name) for name in AuditQuery.model_fields}
        return ListAudit(tenant=tenant, before=before, limit=limit, **given)


class AuditExportQuery(AuditQuery):
    """Which entries to export, and in which form."""

    format: Literal["csv", "jsonl"] = "csv"


class AuditPaging(Paging, AuditQuery):
    """Paging of the audit log, whose cursors are positions in the tenant's chain."""

    after: Annotated[str, Refusing(18, pattern=r"^[1-9][0-9]{0,17}$", form="the `next` of the page before")] | None = (
        None
    )


class ModelFilters(Paging):
    """Filters for a list of models; omitted ones do not filter."""

    filter: Annotated[str, Refusing(500, min_characters=0)] | None = None
    """`eu`, `recommended`, `recommended:OPERATION` or `provider:NAME`; several separated by commas."""
    tier: Tier | None = None
    model_class: Annotated[ModelClass | None, Field(alias="class")] = None
    capability: Capability | None = None
    available: Literal["true", "all"] | None = None
    """`all` also returns approved models that the tenant cannot call."""
    approved: Literal["true", "all"] | None = None
    """`all` also returns unapproved models that the tenant's own keys list."""
    sort: ModelSort | None = None

    def to_query(self, tenant: str) -> ListModels:
        """Return the router query. Raises HttpProblem 400 for an invalid filter."""
        fields: dict[str, object] = {
            name: getattr(self, name) for name in ("tier", "model_class", "capability", "sort")
        }
        if self.filter is not None:
            try:
                fields |= filters_in(self.filter)
            except InvalidFilter:
                raise HttpProblem(400, INVALID_REQUEST, "invalid_value", _FILTER_FORMS, param="filter") from None
        fields["unavailable"] = self.available == "all" or None
        fields["unapproved"] = self.approved == "all" or None
        return ListModels.model_validate({"tenant": tenant, **fields})
