"""Request bodies, queries and answers about preferences. Pure."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

from keyferry.contracts.features import PowerLevel
from keyferry.contracts.ids import Reference
from keyferry.contracts.preferences import (
    EffectivePreference,
    GivenPreferences,
    PreferenceOrigin,
    Preferences,
    PreferencesInForce,
)
from keyferry.contracts.text import BIGINT_MAX, Count, Identifier, Refusing
from services.console.bodies import Body, QueryParameters
from services.console.token_bodies import TOKEN_ID_PATTERN

_REVISION = "revision"
_TOKEN_IN_COMMAND = "client_token_id"  # noqa: S105 - the name of a field, not a token


class ScopeQuery(QueryParameters):
    """Whose preferences: those of a team, a member or a client token, or without any of them the tenant's own."""

    team: Reference | None = None
    member: Reference | None = None
    client_token: (
        Annotated[str, Refusing(64, pattern=TOKEN_ID_PATTERN, form="a client token's id, as the list shows it")] | None
    ) = None

    def names(self) -> dict[str, str]:
        """Return the scopes that are named, as commands call them."""
        found = {"team": self.team, "member": self.member, _TOKEN_IN_COMMAND: self.client_token}
        return {name: value for name, value in found.items() if value is not None}


class PreferencesBody(Preferences, Body):
    """All preferences of one scope. An omitted one, or null, is not set there."""

    model_config = ConfigDict(
        defer_build=False,
        json_schema_extra={
            "examples": [
                {
                    "default_model": "claude-haiku-4-5",
                    "model_by_operation": {"research": "gpt-5.2"},
                    "fallback_models": ["gpt-4o-mini"],
                    "eu_only": False,
                    "max_tokens": 2000,
                    "revision": 3,
                }
            ]
        },
    )

    revision: Annotated[int, Strict(), Field(ge=0, le=BIGINT_MAX)] | None = None
    """The revision that these replace, as it was read; 0 for none. Null replaces whatever is there."""

    def preferences(self) -> GivenPreferences:
        """Return the preferences without the revision."""
        return GivenPreferences.model_validate(self.model_dump(exclude={_REVISION}, exclude_none=True))


class PowerLevelBody(Body):
    """The power level of a scope."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"power_level": "eco"}]})

    power_level: PowerLevel | None
    """Null sets none, so that the broader scope's level holds."""


class PowerLevelInForce(BaseModel):
    """The power level in force in a scope."""

    power_level: PowerLevel
    origin: PreferenceOrigin
    """Where it is saved, or `default`."""
    origin_id: Identifier | None = None
    revision: Count
    """Of the scope's preferences; 0 if nothing is saved there."""

    @classmethod
    def of(cls, found: PreferencesInForce) -> "PowerLevelInForce":
        """Return the power level among the values in force."""
        level = next(each for each in found.effective if each.name == "power_level")
        return cls(**_origin(level), revision=found.revision)


def _origin(level: EffectivePreference) -> dict[str, object]:
    return {"power_level": level.value, "origin": level.origin, "origin_id": level.origin_id}
