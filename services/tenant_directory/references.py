"""Which teams, members and client tokens that alert rules name do not exist. Pure."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference, MissingReference

CHECKED = (ScopeField.TEAM, ScopeField.MEMBER, ScopeField.CLIENT_TOKEN)
"""The fields that the directory knows about."""


@dataclass(frozen=True, slots=True)
class KnownReferences:
    """What there is of the names that were asked for."""

    teams: Collection[str]
    """Also those that are only a client token's: a tenant without teams may use names of its own."""
    members: Collection[str]
    client_tokens: Mapping[str, bool]
    """By id, whether the token is revoked."""


def describe_missing(references: Iterable[AlertReference], known: KnownReferences) -> list[MissingReference]:
    """Return what does not exist, each with a reason for people."""
    found = ((reference, _explain(reference, known)) for reference in references)
    return [
        MissingReference(field=reference.field, value=reference.value, reason=reason)
        for reference, reason in found
        if reason is not None
    ]


def _explain(reference: AlertReference, known: KnownReferences) -> str | None:
    value = reference.value
    if reference.field is ScopeField.TEAM and value not in known.teams:
        return f"there is no team {value} (any more), and no client token that can be used names it"
    if reference.field is ScopeField.MEMBER and value not in known.members:
        return f"there is no member {value} (any more), and no client token that can be used names one"
    if reference.field is ScopeField.CLIENT_TOKEN:
        is_revoked = known.client_tokens.get(value)
        if is_revoked is None:
            return f"there is no client token {value}"
        return f"the client token {value} is revoked" if is_revoked else None
    return None
