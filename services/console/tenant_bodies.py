"""Request bodies and queries about tenants, endpoints, usage, feedback and the vault. Pure."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, Strict, StrictBool
from pydantic import model_validator as validator_of_model
from pydantic_core import PydanticCustomError

from keyferry.contracts.dead_letters import Base64
from keyferry.contracts.envelope import Message
from keyferry.contracts.features import PowerLevel
from keyferry.contracts.feedback import Comment, Stars
from keyferry.contracts.ids import ChosenModel, Operation, Reference, TenantId
from keyferry.contracts.limits import LimitChanges
from keyferry.contracts.origin import may_hold_a_secret
from keyferry.contracts.preferences import RoutingMode
from keyferry.contracts.tenancy import DEFAULT_TIER, ByokUse, ContentDays, ContentPolicy, KeyPolicy, Label, Tier
from keyferry.contracts.text import BIGINT_MAX, Line, Refusing
from keyferry.contracts.zone import ZoneName
from services.console.bodies import Body, NotNull, Priority, QueryParameters

REQUEST_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"


def _reject_secrets(value: object) -> object:
    if isinstance(value, str) and may_hold_a_secret(value):
        raise PydanticCustomError(
            "base_url",
            "a base URL has no user name, password, '?' or '#': give scheme, host, port and path only, such as"
            " https://llm.example.com/v1",
        )
    return value


GivenDays = Annotated[ContentDays, Strict()]
BaseUrl = Annotated[str, BeforeValidator(_reject_secrets), Refusing(2000, 8, no_key=True)]


class CreateTenantBody(Body):
    """A tenant to create."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"tenant": "initech", "name": "Initech", "tier": "professional"}]}
    )

    tenant: TenantId
    """Its id: 1 to 63 of a-z, 0-9 and hyphens. It cannot be changed."""
    name: Label | None = None
    """Display name; null for its id."""
    tier: Tier = DEFAULT_TIER
    limits: LimitChanges | None = None
    """Limits in place of the tier's: a number, or `unlimited`."""


class UpdateTenantBody(Body):
    """Changes to a tenant; omitted fields stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tier": "enterprise"}, {"suspended": True}]})

    name: Annotated[Label | None, NotNull] = None
    tier: Annotated[Tier | None, NotNull] = None
    suspended: Annotated[StrictBool | None, NotNull] = None
    """Whether its requests are refused."""
    key_policy: Annotated[KeyPolicy | None, NotNull] = None
    """Whose provider keys may pay for its requests."""
    drop_unsupported: Annotated[StrictBool | None, NotNull] = None
    """Whether request fields that a provider does not support are dropped and reported instead of rejected."""
    allow_unapproved: Annotated[StrictBool | None, NotNull] = None
    """Whether its own keys may be used for models outside the catalog that they list."""
    byok: Annotated[ByokUse | None, NotNull] = None
    """Whether its own provider keys are used: `default` is as the installation's settings say."""
    content: Annotated[ContentPolicy | None, NotNull] = None
    """What is stored of its prompts and answers."""
    content_days: Annotated[GivenDays | None, NotNull] = None
    """For how many days."""
    time_zone: Annotated[ZoneName | None, NotNull] = None
    """Whose days, weeks and months pages count by."""
    follow_subscription: Annotated[Literal[True] | None, NotNull] = None
    """Have the tier follow the tenant's subscription from now on, also if it was set here before."""
    limits: Annotated[LimitChanges | None, NotNull] = None
    """Limits in place of the tier's: a number, `unlimited`, or `default` for the tier's; omitted ones stay."""

    @validator_of_model(mode="after")
    def _require_change(self) -> "UpdateTenantBody":
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing to change: give at least one field")
        return self

    def changes(self) -> dict[str, object]:
        """Return the fields that are set."""
        return self.model_dump(exclude_unset=True)


class OwnTenantBody(Body):
    """What the administrators of a tenant may change of it; omitted fields stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Initech", "time_zone": "Europe/Berlin"}]})

    name: Annotated[Label | None, NotNull] = None
    time_zone: Annotated[ZoneName | None, NotNull] = None
    """Whose days, weeks and months pages count by."""
    key_policy: Annotated[KeyPolicy | None, NotNull] = None
    """Whose provider keys may pay for its requests."""

    @validator_of_model(mode="after")
    def _require_field(self) -> "OwnTenantBody":
        if not self.model_fields_set:
            raise PydanticCustomError("nothing", "nothing to change: give `name`, `time_zone` or `key_policy`")
        return self


class TenantView(Message):
    """A tenant as its own members see it, with what holds for its requests unless a narrower scope says otherwise."""

    tenant: TenantId
    name: Label
    tier: Tier
    suspended: bool
    time_zone: Line
    """Whose days, weeks and months pages count by."""
    byok: ByokUse
    """Whether its own provider keys are used; `default` is as the installation's settings say."""
    key_policy: KeyPolicy | None
    """Null: its own keys once it has one for the provider, platform keys until then."""
    mode: RoutingMode | None
    """What may serve its requests; null if no preference says so, and the key policy alone decides."""
    eu_only: bool | None
    """Null, like the next two, while the service that knows it does not answer."""
    allowed_regions: list[Line] | None
    """Null as well if every region is allowed."""
    power_level: PowerLevel | None
    content: ContentPolicy
    """What is stored of prompts and answers."""
    content_days: ContentDays


class PrivacyBody(Body):
    """What is stored of prompts and answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"content": "redacted", "retention_days": 7}]})

    content: ContentPolicy
    """`off`: nothing. `redacted`: the texts without what looks like credentials or data of people. `full`: the texts."""
    retention_days: Annotated[GivenDays | None, NotNull] = None
    """For how many days; omitted, it stays as it is."""


class PrivacyView(Message):
    """What is stored of prompts and answers of later requests."""

    content: ContentPolicy
    retention_days: ContentDays


class DeleteTenantBody(Body):
    """The confirmation of a deletion."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm": "initech"}]})

    confirm: TenantId
    """The tenant's id: it is deleted for good, with its provider keys."""


class SaveEndpointBody(Body):
    """An endpoint to add, or to put in place of the one of that name."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"base_url": "https://llm.example.com/v1", "models": ["llama3.2"]}]}
    )

    base_url: BaseUrl
    """Including the version, without `/chat/completions`."""
    models: Annotated[list[ChosenModel], Field(default_factory=list, max_length=1000)]
    """Models that are also offered under their own names."""
    priority: Priority = 100
    """Lower is used first."""
    enabled: StrictBool = True
    eu: StrictBool = False
    """Whether it processes requests inside the European Union: nothing else may serve a tenant that allows only that."""
    probe: StrictBool = True
    """Try the address first, and save nothing that cannot work."""


class RotateKekBody(Body):
    """How to rotate the KEK."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"new_key": True}]})

    new_key: StrictBool = False
    """Have the vault create a new KEK first, where it can."""


class ShredBody(Body):
    """The confirmation of a shredding."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"confirm": "initech"}]})

    confirm: TenantId
    """The tenant's name again."""


class DiscardBody(Body):
    """Which dead letters to remove."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"up_to": 17}]})

    up_to: Annotated[int, Strict(), Field(ge=1, le=BIGINT_MAX)]
    """The number of the last one."""
    only: StrictBool = False
    """Only this one, and none before it."""


class ReplayBody(Body):
    """Which dead letters to take in again: one, or a page of those between two numbers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"number": 17}, {"reason": "outcome"}]})

    number: Annotated[int, Strict(), Field(ge=1, le=BIGINT_MAX)] | None = None
    """Only this one."""
    copy_base64: Base64 | None = None
    """An edited copy of the original of `number`, to be recorded in its place. It keeps the record's id."""
    after: Annotated[int, Strict(), Field(ge=0, le=BIGINT_MAX)] = 0
    """Only those with a greater number: the `next` of the page before."""
    up_to: Annotated[int, Strict(), Field(ge=1, le=BIGINT_MAX)] | None = None
    """Only those up to this number: the `up_to` of the page before. Null for all that there are now."""
    reason: Line | None = None
    """Only those whose reason contains this text, in any case."""


class FeedbackBody(Body):
    """A rating of the answer to a request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"request_id": "req_06d3v1k8f4n2r0c5t7y9b1m3q5", "rating": "up", "operation": "research"}]
        }
    )

    request_id: Annotated[str, Refusing(64, pattern=REQUEST_ID_PATTERN, form="an `x-request-id`")]
    """The `x-request-id` of the answer."""
    rating: Stars
    """1 to 5, the best; `up` is 5 and `down` is 1."""
    rater: Reference = "console"
    """Who rates: a member, or a program of the tenant. One rating is kept per request and rater."""
    operation: Operation | None = None
    """What the request was for, where it did not say so itself."""
    comment: Comment | None = None


class PreviewQuery(QueryParameters):
    """Which ratings to preview."""

    operation: Operation | None = None
    """Of this operation; left out, those of all operations together."""
