"""Request bodies and queries about routing rules. Pure."""

from typing import Annotated

from pydantic import ConfigDict, Field, Strict
from pydantic.config import JsonDict

from keyferry.contracts.rule_management import MAX_DRY_RUN, MAX_VERSIONS, Note
from keyferry.contracts.rules import MAX_RULES, Rule, RuleSet
from keyferry.contracts.text import BIGINT_MAX, Refusing
from services.console.bodies import DEFAULT_PAGE, IN_DIGITS, Body, GivenMoment, QueryParameters

_EXAMPLE: JsonDict = {
    "name": "code-to-claude",
    "when": {"operation": ["code-review"]},
    "chain": [{"model": "claude-sonnet-4-5"}, {"power_level": "precision"}],
}
GivenRules = Annotated[list[Rule], Field(max_length=MAX_RULES)]
GivenVersion = Annotated[int, Strict(), Field(ge=1, le=BIGINT_MAX)]
ExpectedNumber = Annotated[int, Strict(), Field(ge=0, le=BIGINT_MAX)]


class RuleDraftBody(Body):
    """A draft to save."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rules": [_EXAMPLE], "revision": 0}]})

    rules: GivenRules
    revision: ExpectedNumber
    """The revision of the draft that this replaces; 0 if there is none."""


class CompareRulesBody(Body):
    """Rules to compare with a version."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rules": [_EXAMPLE]}, {"version": 3}]})

    rules: GivenRules | None = None
    """Null for the draft."""
    version: GivenVersion | None = None
    """Null for the published version."""


class DryRunBody(Body):
    """Rules to plan past requests with."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rules": [_EXAMPLE], "limit": 200}]})

    rules: GivenRules | None = None
    """Null for the draft."""
    since: GivenMoment | None = None
    """Inclusive; null for seven days ago."""
    until: GivenMoment | None = None
    """Exclusive; null for now."""
    limit: Annotated[int, Strict(), Field(ge=1, le=MAX_DRY_RUN)] = 500
    """The newest requests of the period."""


class PublishRulesBody(Body):
    """Rules to publish."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rules": [_EXAMPLE], "note": "Claude reviews code", "expected_version": 3}]}
    )

    rules: GivenRules | None = None
    """Null for the draft, which is then removed."""
    note: Note = ""
    revision: GivenVersion | None = None
    """The revision that the draft must have; null for any."""
    expected_version: ExpectedNumber | None = None
    """The version that must be the published one, 0 for none; null for any."""


class RollBackRulesBody(Body):
    """The version to publish again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 2, "note": "costs rose"}]})

    version: GivenVersion
    note: Note = ""
    expected_version: ExpectedNumber | None = None


class RuleVersionQuery(QueryParameters):
    """Which version to return."""

    version: Annotated[int | None, Field(ge=1, le=BIGINT_MAX), IN_DIGITS] = None
    """Null for the published one."""


class DiscardDraftQuery(QueryParameters):
    """Which draft to remove."""

    revision: Annotated[int | None, Field(ge=1, le=BIGINT_MAX), IN_DIGITS] = None
    """The revision that the draft must have; null for any."""


class RuleVersionPaging(QueryParameters):
    """Which part of the versions to return, newest first: `after` is the `next` of the previous page."""

    limit: Annotated[int, Field(ge=1, le=MAX_VERSIONS), IN_DIGITS] = DEFAULT_PAGE
    after: Annotated[str, Refusing(18, pattern=r"^[1-9][0-9]{0,17}$", form="the `next` of the page before")] | None = (
        None
    )


def rule_set_of(rules: list[Rule] | None) -> RuleSet | None:
    """Return the rule set of a body; None where it has none."""
    return None if rules is None else RuleSet(rules=rules)
