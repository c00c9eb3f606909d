"""`keyferry members`: who may act in a tenant, and in which role. Codes of invitations are generated here, and shown once."""

from datetime import UTC, datetime
from pathlib import Path

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.people import by_operator, describe_member, find_members
from keyferry.cli.secret_file import secret_file
from keyferry.cli.terminal import EXPIRY_HELP, format_table, format_time, json_option, parse_expiry, tenant_option
from keyferry.contracts import invitation_code
from keyferry.contracts.access_role import TENANT_ROLES
from keyferry.contracts.membership import (
    CreateInvitation,
    Invitation,
    ListInvitations,
    ListMembers,
    Member,
    MemberRemoved,
    MemberSignedOut,
    MemberState,
    RemoveMember,
    RevokeInvitation,
    SignOutMember,
    UpdateMember,
)
from keyferry.contracts.membership_management import (
    INVITATION_CREATE,
    INVITATION_LIST,
    INVITATION_REVOKE,
    MEMBER_LIST,
    MEMBER_REMOVE,
    MEMBER_SIGN_OUT,
    MEMBER_UPDATE,
)

_ROLES = click.Choice([role.value for role in TENANT_ROLES])


@click.group()
def command() -> None:
    """Invite people to a tenant, and change or remove its members. MEMBER is an id or an address."""


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's members."""
    found = run(lambda me: me.ask(MEMBER_LIST, ListMembers(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [
        (
            member.member_id,
            member.email or "-",
            member.name or "-",
            member.role.value,
            member.state.value,
            ", ".join(member.teams) or "-",
            member.source.value,
            format_time(member.last_signed_in_at),
        )
        for member in found.members
    ]
    heads = ("MEMBER", "ADDRESS", "NAME", "ROLE", "STATE", "TEAMS", "FROM", "SIGNED IN")
    empty = f"{tenant} has no members: `keyferry members invite EMAIL --role owner --tenant {tenant}` invites the first"
    click.echo(format_table(heads, rows, empty=empty))


@command.command()
@click.argument("email")
@tenant_option
@click.option("--role", type=_ROLES, required=True, help="What the person may do.")
@click.option("--team", multiple=True, help="A team that the person will be in; repeatable.")
@click.option("--expires", help=EXPIRY_HELP + " Default: in a week; at most in 90 days.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Write the code to this new file (mode 0600) instead of the screen.",
)
@json_option
def invite(
    email: str, tenant: str, role: str, team: tuple[str, ...], expires: str | None, output: Path | None, as_json: bool
) -> None:
    """Invite EMAIL. Only the digest of the invitation's code is sent and stored, so the code is shown only once."""
    code = invitation_code.mint()
    command = CreateInvitation.model_validate(
        by_operator(
            tenant,
            email=email,
            role=role,
            teams=list(team),
            digest=invitation_code.digest(code.reveal()),
            expires_at=None if expires is None else parse_expiry(expires, datetime.now(UTC)),
        )
    )
    if output is None:
        made = run(lambda me: me.ask(INVITATION_CREATE, command), tenant=tenant)
    else:
        with secret_file(output, code):
            made = run(lambda me: me.ask(INVITATION_CREATE, command), tenant=tenant)
    if as_json:
        shown = {"code": code.reveal()} if output is None else {"code_file": str(output)}
        click.echo(_json(made, shown))
        return
    click.echo(
        f"invited {made.email} to {made.tenant} as {made.role.value}: {made.invitation_id}, until"
        f" {format_time(made.expires_at)}",
        err=True,
    )
    if output is not None:
        click.echo(f"the code is in {output}, which only you can read", err=True)
        return
    click.echo(code.reveal())
    click.echo(
        "Send it to that person now: it is not shown again. It counts once, for who has verified this address.",
        err=True,
    )


@command.command("role")
@click.argument("member")
@click.argument("role", type=_ROLES)
@tenant_option
@json_option
def role_(member: str, role: str, tenant: str, as_json: bool) -> None:
    """Give MEMBER the role ROLE. It counts within a second, for who is signed in as well."""
    _change(member, tenant, as_json, role=role)


@command.command()
@click.argument("member")
@tenant_option
@json_option
def suspend(member: str, tenant: str, as_json: bool) -> None:
    """Suspend MEMBER, who is signed out and may do nothing until `keyferry members activate`."""
    _change(member, tenant, as_json, state=MemberState.SUSPENDED)


@command.command()
@click.argument("member")
@tenant_option
@json_option
def activate(member: str, tenant: str, as_json: bool) -> None:
    """End the suspension of MEMBER."""
    _change(member, tenant, as_json, state=MemberState.ACTIVE)


@command.command("sign-out")
@click.argument("member")
@tenant_option
@json_option
def sign_out(member: str, tenant: str, as_json: bool) -> None:
    """End all sessions of MEMBER, who may sign in again; to prevent that, suspend them."""

    async def act(me: Connection) -> MemberSignedOut:
        (found,) = await find_members(me, tenant, [member])
        return await me.ask(
            MEMBER_SIGN_OUT, SignOutMember.model_validate(by_operator(tenant, member_id=found.member_id))
        )

    ended = run(act, tenant=tenant)
    click.echo(ended.model_dump_json(indent=2) if as_json else f"sessions that have ended: {ended.sessions}")


@command.command()
@click.argument("member")
@tenant_option
@click.option("--revoke-tokens", is_flag=True, help="Also revoke the member's client tokens.")
@json_option
def remove(member: str, tenant: str, revoke_tokens: bool, as_json: bool) -> None:
    """Remove MEMBER, who is signed out. The client tokens that were theirs are named."""

    async def act(me: Connection) -> MemberRemoved:
        (found,) = await find_members(me, tenant, [member])
        fields = by_operator(tenant, member_id=found.member_id, revoke_tokens=revoke_tokens)
        return await me.ask(MEMBER_REMOVE, RemoveMember.model_validate(fields))

    removed = run(act, tenant=tenant)
    if as_json:
        click.echo(removed.model_dump_json(indent=2))
        return
    click.echo(f"removed {describe_member(removed.member)} from {tenant}")
    if removed.client_token_count:
        what = (
            "revoked"
            if removed.revoked
            else f"still valid: revoke each with `keyferry tokens revoke ID --tenant {tenant}`"
        )
        click.echo(f"{removed.client_token_count} client tokens were theirs, {what}")
        for token in removed.client_tokens:
            click.echo(f"  {token.token_id}  {token.label}")


@command.command()
@tenant_option
@json_option
def invitations(tenant: str, as_json: bool) -> None:
    """List a tenant's invitations, the newest first."""
    found = run(lambda me: me.ask(INVITATION_LIST, ListInvitations(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    now = datetime.now(UTC)
    rows = [
        (
            each.invitation_id,
            each.email,
            each.role.value,
            ", ".join(each.teams) or "-",
            each.created_by,
            format_time(each.expires_at),
            describe_invitation(each, now),
        )
        for each in found.invitations
    ]
    heads = ("INVITATION", "ADDRESS", "ROLE", "TEAMS", "BY", "EXPIRES", "STATE")
    click.echo(format_table(heads, rows, empty=f"{tenant} has no invitations"))


@command.command("revoke-invitation")
@click.argument("invitation_id")
@tenant_option
@json_option
def revoke_invitation(invitation_id: str, tenant: str, as_json: bool) -> None:
    """Revoke the open invitation INVITATION_ID, as `keyferry members invitations` shows it."""
    command = RevokeInvitation.model_validate(by_operator(tenant, invitation_id=invitation_id))
    revoked = run(lambda me: me.ask(INVITATION_REVOKE, command), tenant=tenant)
    click.echo(
        revoked.model_dump_json(indent=2)
        if as_json
        else f"revoked {revoked.invitation_id} for {revoked.email} as of {format_time(revoked.revoked_at)}"
    )


def describe_invitation(invitation: Invitation, now: datetime) -> str:
    """Return `open`, `accepted`, `revoked` or `expired`."""
    if invitation.accepted_at is not None:
        return "accepted"
    if invitation.revoked_at is not None:
        return "revoked"
    return "expired" if invitation.expires_at <= now else "open"


def _change(name: str, tenant: str, as_json: bool, **changes: object) -> None:
    async def act(me: Connection) -> Member:
        (found,) = await find_members(me, tenant, [name])
        fields = by_operator(tenant, member_id=found.member_id, **changes)
        return await me.ask(MEMBER_UPDATE, UpdateMember.model_validate(fields))

    changed = run(act, tenant=tenant)
    click.echo(
        changed.model_dump_json(indent=2)
        if as_json
        else f"{describe_member(changed)} is {changed.role.value} of {tenant}, {changed.state.value}"
    )


def _json(invitation: Invitation, more: dict[str, str]) -> str:
    import json

    return json.dumps(invitation.model_dump(mode="json") | more, indent=2)
