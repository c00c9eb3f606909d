"""Audit entries as pages show them: with the name of who acted, which the chain itself does not have. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from keyferry.contracts import ids
from keyferry.contracts.audit import AuditEntry
from keyferry.contracts.membership import Member
from services.console.authentication import OPERATOR
from services.console.sign_in.authenticator import PROGRAM_PREFIX
from services.console.views import View

_PERSON = f"{ids.USER}_"
_OPERATORS = frozenset({OPERATOR.actor, "operator"})


class ActorKind(StrEnum):
    """Who acted."""

    PERSON = "person"
    """Somebody who had signed in."""
    OPERATOR = "operator"
    """Somebody with the operator's token, or the operator's connection to the bus."""
    PROGRAM = "program"
    """A program with an access token of the identity provider."""
    SERVICE = "service"
    """A service or a worker of the installation, by itself."""


class ShownAuditEntry(AuditEntry):
    """An event in its tenant's chain, and who acted. The digest does not cover the last two, which are not stored with it."""

    actor_kind: ActorKind
    actor_name: str | None = None
    """The person's name, else their address, as the tenant's list of members has it now; null for everybody else."""


class AuditPage(View):
    """A tenant's audit log, newest first. `next` is null on the last page."""

    data: list[ShownAuditEntry]
    next: str | None


def kind_of(actor: str) -> ActorKind:
    """Return who acts under a name of the audit log."""
    if actor.startswith(_PERSON):
        return ActorKind.PERSON
    if actor in _OPERATORS:
        return ActorKind.OPERATOR
    return ActorKind.PROGRAM if actor.startswith(PROGRAM_PREFIX) else ActorKind.SERVICE


def names_people(entries: Iterable[AuditEntry]) -> bool:
    """Return whether a person is among those who acted."""
    return any(kind_of(entry.event.actor) is ActorKind.PERSON for entry in entries)


def names_of(members: Iterable[Member]) -> dict[str, str]:
    """Return the names of people by their ids, as far as they are known."""
    return {member.user_id: shown for member in members if member.user_id and (shown := member.name or member.email)}


def show(entry: AuditEntry, names: Mapping[str, str]) -> ShownAuditEntry:
    """Return an entry with who acted."""
    actor = entry.event.actor
    return ShownAuditEntry(**dict(entry), actor_kind=kind_of(actor), actor_name=names.get(actor))
