"""Rules about members: who may change whom, and that a tenant keeps an owner. Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.membership import (
    MAX_MEMBERS,
    Member,
    MembershipCommand,
    MemberSource,
    MemberState,
    UpdateMember,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from services.tenant_directory.tenants import RuleViolation

_RANKS = {role: rank for rank, role in enumerate((AccessRole.OPERATOR, *TENANT_ROLES))}
_MANAGERS = (AccessRole.OPERATOR, AccessRole.OWNER, AccessRole.ADMIN)


def is_above(role: AccessRole, other: AccessRole) -> bool:
    """Return whether `role` may do more than `other`."""
    return _RANKS[role] < _RANKS[other]


def acting_role(command: MembershipCommand, actor: Member | None) -> AccessRole:
    """Return the role in which a command is carried out: `actor` is its member as they are now.

    Raises RuleViolation unless that is a role that manages people.
    """
    role = command.actor_role
    if role is not AccessRole.OPERATOR:
        if actor is None or actor.state is not MemberState.ACTIVE:
            raise RuleViolation(
                ErrorCode.INVALID, "you are not an active member of this tenant any more: ask one of its owners"
            )
        role = max(role, actor.role, key=_RANKS.__getitem__)
    if role not in _MANAGERS:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"your role, {role.value}, does not manage people: ask an owner or an admin of the tenant",
        )
    return role


def check_grant(role: AccessRole, acting: AccessRole) -> None:
    """Raise RuleViolation if somebody who acts as `acting` may not give `role`."""
    if is_above(role, acting):
        raise RuleViolation(
            ErrorCode.INVALID,
            f"as {_with_article(acting)} you cannot make somebody {_with_article(role)}: ask {_with_article(role)} to do it",
        )


def check_tenant(owner: Tenant) -> None:
    """Raise RuleViolation if a tenant has no members, or gets no new ones."""
    if owner.tenant == PLATFORM_TENANT:
        raise RuleViolation(
            ErrorCode.INVALID,
            f"{PLATFORM_TENANT!r} owns the platform's own keys and has no members. Name the tenant of the person",
        )
    if owner.suspended:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"tenant {owner.tenant!r} is suspended and gets no new members. End the suspension first",
        )


def check_space(members: int) -> None:
    """Raise RuleViolation if a tenant has as many members as it can."""
    if members >= MAX_MEMBERS:
        raise RuleViolation(
            ErrorCode.CONFLICT,
            f"the tenant has {members} members, and can have {MAX_MEMBERS}: remove one who is not needed any more",
        )


def count_owners(members: Iterable[Member]) -> int:
    """Return how many of the members are active owners."""
    return sum(_is_active_owner(member) for member in members)


def is_last_owner(member: Member, owners: int) -> bool:
    """Return whether `member` is the only active owner of a tenant that has `owners` of them."""
    return _is_active_owner(member) and owners <= 1


def update(member: Member, command: UpdateMember, acting: AccessRole, owners: int, teams: Sequence[str]) -> Member:
    """Apply the changes of `command`. `owners` is the number of active owners, `teams` the names of the tenant's teams.

    Raises RuleViolation if nothing changes, or if it may not.
    """
    _check_reach(member, acting)
    changes = command.model_dump(include={"name", "role", "state"}, exclude_none=True)
    if command.teams is not None:
        changes["teams"] = sorted(set(command.teams))
        check_teams(changes["teams"], teams)
    if not changes:
        raise RuleViolation(ErrorCode.INVALID, "nothing to change: give at least one of role, state, name and teams")
    if command.role is not None:
        check_grant(command.role, acting)
    changed = member.model_copy(update=changes)
    if is_last_owner(member, owners) and not _is_active_owner(changed):
        raise _last_owner("change")
    return changed


def check_removal(member: Member, acting: AccessRole, owners: int) -> None:
    """Raise RuleViolation if `member` may not be removed by somebody who acts as `acting`."""
    _check_reach(member, acting)
    if is_last_owner(member, owners):
        raise _last_owner("remove")


def check_sign_out(member: Member, acting: AccessRole, operates: bool) -> None:
    """Raise RuleViolation if somebody who acts as `acting` may not end the sessions of `member`.

    `operates` is whether the member has signed in as an operator of the installation, which is above every role of a tenant.
    """
    _check_reach(member, acting)
    if operates and acting is not AccessRole.OPERATOR:
        raise RuleViolation(
            ErrorCode.INVALID, "this member operates the installation: only an operator ends an operator's sessions"
        )


def check_teams(named: Iterable[str], teams: Sequence[str]) -> None:
    """Raise RuleViolation if a team is named that the tenant does not have."""
    known = set(teams)
    if missing := sorted(set(named) - known):
        raise RuleViolation(
            ErrorCode.NOT_FOUND, f"the tenant has no team {missing[0]!r}: list its teams, or create this one first"
        )


def from_claims(
    present: Member | None, *, tenant: str, member_id: str, user_id: str, role: AccessRole, owners: int, now: datetime
) -> Member:
    """Return the member that the claims of an identity provider make somebody, or make of `present`.

    The last active owner stays one, whatever the claims say. A suspended member stays suspended.
    """
    if present is None:
        return Member(
            tenant=tenant,
            member_id=member_id,
            user_id=user_id,
            role=role,
            source=MemberSource.CLAIMS,
            created_at=now.astimezone(UTC),
        )
    if is_last_owner(present, owners):
        role = AccessRole.OWNER
    return present.model_copy(update={"role": role, "source": MemberSource.CLAIMS})


def describe_changes(before: Member, after: Member) -> dict[str, str]:
    """Return what changed of a member, as `before -> after`, for the audit."""
    pairs = {
        "name": (before.name or "", after.name or ""),
        "role": (before.role.value, after.role.value),
        "state": (before.state.value, after.state.value),
        "source": (before.source.value, after.source.value),
        "teams": (" ".join(before.teams), " ".join(after.teams)),
    }
    return {name: f"{old or '-'} -> {new or '-'}" for name, (old, new) in pairs.items() if old != new}


def mask_email(email: str | None) -> str:
    """Return an address as the audit shows it, whose entries cannot be erased: `a…@example.com`."""
    if email is None:
        return "-"
    local, _, domain = email.partition("@")
    return f"{local[:1]}…@{domain}"


def unknown(tenant: str, member_id: str) -> RuleViolation:
    """Return the error for a member that the tenant does not have; the same for another tenant's member."""
    return RuleViolation(
        ErrorCode.NOT_FOUND, f"tenant {tenant!r} has no member {member_id!r}: list its members to see the ids"
    )


def _check_reach(member: Member, acting: AccessRole) -> None:
    if is_above(member.role, acting):
        raise RuleViolation(
            ErrorCode.INVALID,
            f"as {_with_article(acting)} you cannot change {_with_article(member.role)}: ask an owner of the tenant",
        )


def _is_active_owner(member: Member) -> bool:
    return member.role is AccessRole.OWNER and member.state is MemberState.ACTIVE


def _last_owner(verb: str) -> RuleViolation:
    return RuleViolation(
        ErrorCode.CONFLICT,
        f"you cannot {verb} the last active owner like this: the tenant would have none. Make somebody else an owner first",
    )


def _with_article(role: AccessRole) -> str:
    return f"{'an' if role.value[0] in 'aeiou' else 'a'} {role.value}"
