"""What the commands about members and teams share."""

from collections.abc import Iterable

from keyferry.cli.connection import Connection
from keyferry.cli.problem import Problem
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import ListMembers, Member
from keyferry.contracts.membership_management import MEMBER_LIST


def by_operator(tenant: str, **fields: object) -> dict[str, object]:
    """Return the fields of a command that the operator sends."""
    return {"tenant": tenant, "actor_role": AccessRole.OPERATOR, **fields}


async def find_members(me: Connection, tenant: str, names: Iterable[str]) -> list[Member]:
    """Return the members with these ids or addresses, in that order. Raises Problem for one that is not there."""
    present = (await me.ask(MEMBER_LIST, ListMembers(tenant=tenant))).members
    return [_find(present, tenant, name) for name in names]


def describe_member(member: Member) -> str:
    """Return a member as a sentence names them."""
    return f"{member.member_id} ({member.email or member.name or 'without an address'})"


def _find(present: list[Member], tenant: str, name: str) -> Member:
    found = [member for member in present if name == member.member_id or name.lower() == member.email]
    if not found:
        # The argument is not repeated: it may be anything.
        raise Problem(
            f"{tenant} has no such member",
            f"`keyferry members list --tenant {tenant}` shows each member's id and address",
        )
    if len(found) > 1:
        ids = ", ".join(member.member_id for member in found)
        raise Problem(f"{len(found)} members of {tenant} have this address: {ids}", "Give the id of the one you mean")
    return found[0]
