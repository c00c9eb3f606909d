"""Request bodies and query parameters about integration secrets. Pure."""

from typing import Annotated, Self

from pydantic import ConfigDict, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from keyferry.contracts.integration_formats import MAX_SECRET_CHARACTERS
from keyferry.contracts.integration_secrets import (
    USUAL_OVERLAP_SECONDS,
    IntegrationKind,
    OverlapSeconds,
    SecretName,
)
from keyferry.contracts.key import Base64
from keyferry.contracts.secret import Secret
from services.console.bodies import Body, QueryParameters, may_be_sealed


def _parse_secret(value: object) -> Secret:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_SECRET_CHARACTERS:
        raise PydanticCustomError(
            "secret", f"this must be the secret as one text of at most {MAX_SECRET_CHARACTERS} characters"
        )
    return Secret(value)


ClearSecret = Annotated[
    Secret,
    PlainValidator(_parse_secret),
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True, "maxLength": MAX_SECRET_CHARACTERS}),
]
"""A secret in clear text: sent only from the client to the console, over TLS."""


class CarriedSecret(Body):
    """A secret: `sealed` by the client to the intake key, or `secret` in clear text. Exactly one of the two."""

    secret: ClearSecret | None = None
    sealed: Base64 | None = None

    @model_validator(mode="after")
    def _require_one(self) -> Self:
        if (self.secret is None) == (self.sealed is None):
            raise PydanticCustomError("one_secret", "give either `secret` in clear text, or `sealed`")
        if self.sealed is not None and not may_be_sealed(self.sealed):
            # The value goes over the bus unchanged.
            raise PydanticCustomError(
                "sealed", "`sealed` is for what is sealed to the intake key; send this as `secret`"
            )
        return self


class AddIntegrationBody(CarriedSecret):
    """An integration secret to store."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "slack_webhook_url",
                    "name": "on-call channel",
                    "secret": "https://hooks.slack.com/services/T0/B0/EXAMPLE000",
                }
            ]
        }
    )

    kind: IntegrationKind
    name: SecretName
    """For people; different among the owner's secrets of this kind."""


class RotateIntegrationBody(CarriedSecret):
    """The secret that replaces a stored one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"secret": "https://hooks.slack.com/services/T0/B0/EXAMPLE000", "overlap_seconds": 3600}]
        }
    )

    overlap_seconds: OverlapSeconds = USUAL_OVERLAP_SECONDS
    """How long the previous version stays valid; 0 destroys it at once."""


class IntegrationListQuery(QueryParameters):
    """Which integration secrets are listed."""

    kind: IntegrationKind | None = None
    """Only those of this kind."""
