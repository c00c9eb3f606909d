"""Rules about invitations. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from keyferry.contracts.membership import (
    INVITATION_DAYS,
    MAX_INVITATION_DAYS,
    MAX_OPEN_INVITATIONS,
    CreateInvitation,
    Invitation,
    Member,
    MemberSource,
    SignedInPerson,
)
from keyferry.contracts.service import ErrorCode
from services.tenant_directory.tenants import RuleViolation

KEPT_DAYS = 90
"""How long an invitation is kept after it has ended: it names an address of somebody who may never have come."""


def is_open(invitation: Invitation, now: datetime) -> bool:
    """Return whether an invitation can be accepted at `now`."""
    return invitation.accepted_at is None and invitation.revoked_at is None and invitation.expires_at > now


def create(
    command: CreateInvitation,
    invitation_id: str,
    present: Sequence[Invitation],
    emails: Sequence[str | None],
    now: datetime,
) -> Invitation:
    """Return the invitation that `command` makes at `now`, in UTC.

    `present` are the tenant's invitations, `emails` the addresses of its members. Raises RuleViolation for a second invitation of
    somebody, too many, and an expiry that is past or too far.
    """
    if command.email in emails:
        raise RuleViolation(
            ErrorCode.CONFLICT, "somebody with this address is a member already: change their role instead"
        )
    still_open = [invitation for invitation in present if is_open(invitation, now)]
    for invitation in still_open:
        if invitation.email == command.email:
            raise RuleViolation(
                ErrorCode.CONFLICT,
                f"there is an open invitation for this address, {invitation.invitation_id}: revoke it to make another one",
            )
    if len(still_open) >= MAX_OPEN_INVITATIONS:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"the tenant has {len(still_open)} open invitations, and can have {MAX_OPEN_INVITATIONS}: revoke one first",
        )
    return Invitation(
        invitation_id=invitation_id,
        tenant=command.tenant,
        email=command.email,
        role=command.role,
        teams=sorted(set(command.teams)),
        created_by=command.actor,
        created_at=now.astimezone(UTC),
        expires_at=_expiry(command.expires_at, now),
    )


def accept(invitation: Invitation, person: SignedInPerson, member_id: str, now: datetime) -> Member:
    """Return the member that `person` becomes at `now`.

    Raises RuleViolation if the invitation has ended, or is not for an address that the person has verified.
    """
    if invitation.accepted_at is not None:
        raise _ended("was accepted already, and counts once")
    if invitation.revoked_at is not None:
        raise _ended("was revoked")
    if invitation.expires_at <= now:
        raise _ended("has expired")
    if person.email != invitation.email:
        raise RuleViolation(
            ErrorCode.INVALID,
            "this invitation is for another address than the one you are signed in with: sign in with the invited one",
        )
    if not person.email_verified:
        raise RuleViolation(
            ErrorCode.INVALID,
            "your identity provider does not say that your address is verified: have it verified there, and sign in again",
        )
    return Member(
        tenant=invitation.tenant,
        member_id=member_id,
        user_id=person.user_id,
        email=person.email,
        name=person.name,
        role=invitation.role,
        source=MemberSource.INVITATION,
        teams=invitation.teams,
        created_at=now.astimezone(UTC),
        last_signed_in_at=now.astimezone(UTC),
    )


def revoke(invitation: Invitation, now: datetime) -> Invitation:
    """Revoke `invitation` at `now`; one that is revoked keeps its time. Raises RuleViolation if it was accepted."""
    if invitation.accepted_at is not None:
        raise RuleViolation(ErrorCode.CONFLICT, "this invitation was accepted: remove the member instead")
    return invitation if invitation.revoked_at else invitation.model_copy(update={"revoked_at": now.astimezone(UTC)})


def unknown(tenant: str, invitation_id: str) -> RuleViolation:
    """Return the error for an invitation that the tenant does not have; the same for another tenant's."""
    return RuleViolation(
        ErrorCode.NOT_FOUND,
        f"tenant {tenant!r} has no invitation {invitation_id!r}: list its invitations to see the ids",
    )


def unknown_code() -> RuleViolation:
    """Return the error for a code that belongs to no invitation."""
    return RuleViolation(
        ErrorCode.NOT_FOUND, "no invitation has this code: copy it completely, or ask for another invitation"
    )


def member_already() -> RuleViolation:
    """Return the error for accepting an invitation to a tenant that the person is a member of."""
    return RuleViolation(ErrorCode.CONFLICT, "you are a member of this tenant already: the invitation is not needed")


def _ended(why: str) -> RuleViolation:
    return RuleViolation(ErrorCode.CONFLICT, f"this invitation {why}: ask for another one")


def _expiry(expires_at: datetime | None, now: datetime) -> datetime:
    if expires_at is None:
        return now.astimezone(UTC) + timedelta(days=INVITATION_DAYS)
    if expires_at.tzinfo is None:
        raise RuleViolation(
            ErrorCode.INVALID, "expires_at has no time zone: end it with Z for UTC, or with an offset like +02:00"
        )
    if not now < expires_at <= now + timedelta(days=MAX_INVITATION_DAYS):
        raise RuleViolation(
            ErrorCode.INVALID,
            f"expires_at must be in the future, and at most {MAX_INVITATION_DAYS} days ahead: give another time",
        )
    return expires_at.astimezone(UTC)
