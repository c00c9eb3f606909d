"""`keyferry preferences`: what requests get where they say nothing themselves, by scope."""

from collections.abc import Callable
from typing import TypeVar

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.preference_values import assign, check_names, format_origin, format_value, remove
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts import ids
from keyferry.contracts.preferences import (
    GetPreferences,
    GivenPreferences,
    ListPreferences,
    Preferences,
    PreferenceScope,
    PreferencesInForce,
    SavedPreferences,
    SavePreferences,
)
from keyferry.contracts.routing_management import PREFERENCES_GET, PREFERENCES_LIST, PREFERENCES_SAVE
from keyferry.contracts.tenancy import PLATFORM_TENANT, ListClientTokens
from keyferry.contracts.topology import TOKEN_LIST

F = TypeVar("F", bound=Callable[..., object])
Scope = dict[str, str]


@click.group()
def command() -> None:
    """Show and change preferences: default models and providers, limits, routing modes, residency.

    They are saved for the platform (--tenant platform), a tenant, a team, a member or a client token. The narrowest scope that
    sets a value wins, and a request overrides them all.
    """


def _scope_options(command: F) -> F:
    """Add the options that name a scope."""
    for option in (
        click.option("--token", help="The preferences of this client token, by its id."),
        click.option("--member", help="The preferences of this member."),
        click.option("--team", help="The preferences of this team."),
        tenant_option,
    ):
        command = option(command)
    return command


@command.command()
@click.argument("names", nargs=-1)
@_scope_options
@json_option
def show(
    names: tuple[str, ...], tenant: str, team: str | None, member: str | None, token: str | None, as_json: bool
) -> None:
    """Show the values in force and where each is saved; only NAMES if any are given.

    Several scopes together show what holds for a request of all of them; a client token brings its team and member.
    """
    check_names(names)
    scope = _scope(tenant, team, member, token)

    async def read(me: Connection) -> PreferencesInForce:
        known = await _scopes_of_token(me, tenant, token) if token is not None else {}
        question = GetPreferences.model_validate({"tenant": tenant, **known, **scope})
        return await me.ask(PREFERENCES_GET, question)

    found = run(read, tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    shown = [
        each for each in found.effective if not names or each.name in names or each.name.partition(".")[0] in names
    ]
    rows = [(each.name, format_value(each), format_origin(each)) for each in shown]
    click.echo(format_table(("PREFERENCE", "VALUE", "FROM"), rows, empty="nothing is set for any operation"))


@command.command("set")
@click.argument("assignments", nargs=-1, required=True, metavar="NAME=VALUE...")
@_scope_options
@json_option
def set_(
    assignments: tuple[str, ...], tenant: str, team: str | None, member: str | None, token: str | None, as_json: bool
) -> None:
    """Set preferences of one scope; its others stay as they are.

    Lists are separated by commas: fallback_models=gpt-4o,gpt-4.1. Values of operations are named by them:
    model_by_operation.research=gpt-4o.
    """
    _change(_one_scope(tenant, team, member, token), tenant, lambda saved: assign(saved, assignments), as_json)


@command.command()
@click.argument("names", nargs=-1, required=True)
@_scope_options
@json_option
def unset(
    names: tuple[str, ...], tenant: str, team: str | None, member: str | None, token: str | None, as_json: bool
) -> None:
    """Unset the preferences NAMES of one scope, so that the broader scope's values hold."""
    _change(_one_scope(tenant, team, member, token), tenant, lambda saved: remove(saved, names), as_json)


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List the scopes of a tenant in which anything is saved."""
    found = run(lambda me: me.ask(PREFERENCES_LIST, ListPreferences(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [(_describe_scope(each), str(each.revision), _names_set(each.preferences)) for each in found.scopes]
    click.echo(
        format_table(
            ("SCOPE", "REVISION", "PREFERENCES"),
            rows,
            empty=f"{tenant} has no preferences: `keyferry preferences set --tenant {tenant}` saves some",
        )
    )


def _change(scope: Scope, tenant: str, changed: Callable[[Preferences], GivenPreferences], as_json: bool) -> None:
    """Read the preferences of a scope, change them, and save them unless somebody else has saved in between."""

    async def change(me: Connection) -> PreferencesInForce:
        if (token := scope.get("client_token_id")) is not None:
            await _scopes_of_token(me, tenant, token)
        found = await me.ask(PREFERENCES_GET, GetPreferences.model_validate({"tenant": tenant, **scope}))
        command = SavePreferences.model_validate(
            {
                "tenant": tenant,
                "preferences": changed(found.saved),
                "expected_revision": found.revision,
                **scope,
            }
        )
        return await me.ask(PREFERENCES_SAVE, command)

    saved = run(change, tenant=tenant)
    if as_json:
        click.echo(saved.model_dump_json(indent=2))
        return
    where = "the platform" if saved.scope is PreferenceScope.PLATFORM else _describe(saved.scope, saved.scope_id)
    click.echo(f"saved the preferences of {where}: {_names_set(saved.saved)} (revision {saved.revision})")


def _scope(tenant: str, team: str | None, member: str | None, token: str | None) -> Scope:
    """Return the scopes that the options name. Raises Problem for a name that cannot be one."""
    if token is not None and not token.startswith(f"{ids.CLIENT_TOKEN}_"):
        # Nothing is sent or repeated: the argument may be the token itself.
        raise Problem(
            f"that is not a token id, which begins with {ids.CLIENT_TOKEN}_",
            f"`keyferry tokens list --tenant {tenant}` shows each token's id beside its last characters",
        )
    names = {"team": team, "member": member, "client_token_id": token}
    found = {name: value for name, value in names.items() if value is not None}
    if tenant == PLATFORM_TENANT and found:
        raise Problem("the platform has no teams, members and client tokens", "Name a tenant with --tenant")
    return found


def _one_scope(tenant: str, team: str | None, member: str | None, token: str | None) -> Scope:
    """Return the scope to change. Raises Problem for several."""
    scope = _scope(tenant, team, member, token)
    if len(scope) > 1:
        raise Problem("preferences are saved in one scope", "Give --team, --member or --token, or none for the tenant")
    return scope


async def _scopes_of_token(me: Connection, tenant: str, token: str) -> Scope:
    """Return the team and the member of a client token. Raises Problem if the tenant has no such token."""
    for each in (await me.ask(TOKEN_LIST, ListClientTokens(tenant=tenant))).tokens:
        if each.token_id == token:
            return {name: value for name, value in (("team", each.team), ("member", each.member)) if value is not None}
    raise Problem(
        f"{tenant} has no such client token", f"`keyferry tokens list --tenant {tenant}` shows each token's id"
    )


def _describe_scope(saved: SavedPreferences) -> str:
    return _describe(saved.scope, saved.scope_id)


def _describe(scope: PreferenceScope, scope_id: str) -> str:
    return f"{scope.value.replace('_', ' ')} {scope_id}"


def _names_set(preferences: Preferences) -> str:
    return ", ".join(preferences.model_dump(exclude_none=True)) or "none"
