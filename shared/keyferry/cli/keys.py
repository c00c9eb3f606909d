"""`keyferry keys`: keys are sealed here, tested by a worker, stored by the vault, and shown masked."""

import click

from keyferry.cli import key_output
from keyferry.cli.connection import Connection, run
from keyferry.cli.key_importing import import_keys
from keyferry.cli.key_input import read_key
from keyferry.cli.key_options import parse_key_expiry, parse_monthly_limit, scope_options
from keyferry.cli.key_pauses import Pauses, list_pauses
from keyferry.cli.key_sealing import fetch_intake_key, require_provider, seal, seal_for_origin
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import EXPIRY_HELP, is_given, json_option, tenant_option
from keyferry.contracts import ids
from keyferry.contracts.key import (
    AddKey,
    EditKey,
    KeyRemoved,
    KeyTest,
    KeyTestResult,
    ListKeys,
    ProviderKey,
    ProviderKeys,
    RemoveKey,
    RevertKey,
    RotateKey,
    TestKey,
    TryKey,
)
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT, GetTenant, KeyPolicy, ListTenants
from keyferry.contracts.topology import (
    KEY_ADD,
    KEY_EDIT,
    KEY_LIST,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_TEST,
    KEY_TRY,
    TENANT_GET,
    TENANT_LIST,
    Subject,
)
from keyferry.runtime.bus.requests import BusError, Refused

TEST_SECONDS = 90.0
"""A test calls the provider several times, and uses a second worker if the first one is gone."""

provider_option = click.option("--provider", required=True, metavar="NAME", help="The provider: openai, anthropic, …")
key_file_option = click.option(
    "--key-file", metavar="FILE", help="Read the key from this file, or `-` for standard input. Default: prompt for it."
)
base_url_option = click.option("--base-url", help="The provider's address, if it has no fixed one.")
field_option = click.option(
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value that the provider needs besides the key; repeatable.",
)
untested_option = click.option("--save-untested", is_flag=True, help="Store it even if its test is inconclusive.")


@click.group()
def command() -> None:
    """Manage provider keys, the keys that pay for a tenant's requests."""


@command.command()
@provider_option
@tenant_option
@key_file_option
@base_url_option
@field_option
@click.option("--label", default="command line", show_default=True, help="Display name.")
@click.option("--name", help="The name of its own server: models are then called as NAME/MODEL.")
@scope_options
@click.option("--priority", default=100, show_default=True, help="Lower is used first, 0 to 1000.")
@click.option("--weight", default=1, show_default=True, help="Its share among keys of the same priority.")
@click.option(
    "--model", "models", multiple=True, help="A model that it may be used for; repeatable. Default: all models."
)
@click.option("--expires", help=EXPIRY_HELP)
@click.option("--monthly-limit", help="US dollars per calendar month (UTC); the key is not used beyond that.")
@untested_option
@json_option
def add(
    provider: str,
    tenant: str,
    key_file: str | None,
    base_url: str | None,
    fields: tuple[str, ...],
    label: str,
    name: str | None,
    team: str | None,
    member: str | None,
    priority: int,
    weight: int,
    models: tuple[str, ...],
    expires: str | None,
    monthly_limit: str | None,
    save_untested: bool,
    as_json: bool,
) -> None:
    """Add a key. It is sealed here, tested against its provider, and stored if the provider accepts it."""
    field_values, limit, until = parse_fields(fields), parse_monthly_limit(monthly_limit), parse_key_expiry(expires)
    key = _read(provider, key_file)

    async def work(me: Connection) -> ProviderKey:
        sealed = seal(await fetch_intake_key(me), tenant, provider, base_url, field_values, key)
        request = AddKey(
            tenant=tenant,
            provider=provider,
            sealed=sealed,
            base_url=base_url,
            fields=field_values,
            label=label,
            name=name,
            team=team,
            member=member,
            priority=priority,
            weight=weight,
            allowed_models=list(models) or None,
            expires_at=until,
            monthly_limit_usd=limit,
            save_untested=save_untested,
        )
        return await me.ask(KEY_ADD, request, timeout_seconds=TEST_SECONDS)

    _show(run(work, tenant=tenant), "added", as_json)


@command.command("try")
@provider_option
@tenant_option
@key_file_option
@base_url_option
@field_option
@json_option
def try_(
    provider: str, tenant: str, key_file: str | None, base_url: str | None, fields: tuple[str, ...], as_json: bool
) -> int:
    """Test a key without storing it. The exit status is 0 if the key works."""
    field_values = parse_fields(fields)
    key = _read(provider, key_file)

    async def work(me: Connection) -> KeyTest:
        sealed = seal(await fetch_intake_key(me), tenant, provider, base_url, field_values, key)
        request = TryKey(tenant=tenant, provider=provider, sealed=sealed, base_url=base_url, fields=field_values)
        return await me.ask(KEY_TRY, request, timeout_seconds=TEST_SECONDS)

    test = run(work, tenant=tenant)
    click.echo(test.model_dump_json(indent=2) if as_json else key_output.format_test(test))
    return 0 if test.result is KeyTestResult.VALID else 1


@command.command("list")
@tenant_option
@click.option("--all-tenants", is_flag=True, help="List the keys of every tenant, including the platform's.")
@click.option("--created-by", metavar="NAME", help="Only keys that NAME added, or whose current secret NAME entered.")
@json_option
def list_(tenant: str, all_tenants: bool, created_by: str | None, as_json: bool) -> None:
    """List a tenant's keys, in the order in which they are used."""
    if all_tenants and is_given("tenant"):
        raise Problem("--all-tenants and --tenant exclude each other", "Give one of them")

    async def work(me: Connection) -> tuple[list[ProviderKey], Pauses]:
        tenants = await _list_tenants(me) if all_tenants else [tenant]
        keys = [key for name in tenants for key in await _list_keys(me, name, created_by)]
        return keys, [] if as_json or not keys else await list_pauses(me)

    keys, pauses = run(work, tenant=None if all_tenants else tenant)
    if as_json:
        click.echo(ProviderKeys(keys=keys).model_dump_json(indent=2))
    elif created_by is not None and not keys:
        click.echo(f"{created_by} has entered no key {'of any tenant' if all_tenants else f'of {tenant}'}")
    else:
        click.echo(key_output.format_keys(keys, None if all_tenants else tenant, pauses))


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def test(key_id: str, tenant: str, as_json: bool) -> None:
    """Test KEY_ID now, and show the result of each step."""
    request = TestKey(tenant=tenant, key_id=_require_key_id(key_id))
    _show(run(lambda me: me.ask(KEY_TEST, request, timeout_seconds=TEST_SECONDS), tenant=tenant), "tested", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@key_file_option
@untested_option
@json_option
def rotate(key_id: str, tenant: str, key_file: str | None, save_untested: bool, as_json: bool) -> None:
    """Replace the secret of KEY_ID. `keyferry keys revert` restores the previous one, which is kept for a while."""
    checked_id = _require_key_id(key_id)
    secret = read_key(key_file, f"The key to replace {checked_id}")

    async def work(me: Connection) -> ProviderKey:
        key = await _find_key(me, tenant, checked_id)
        sealed = seal_for_origin(await fetch_intake_key(me), tenant, key.provider, key.origin, secret)
        request = RotateKey(tenant=tenant, key_id=checked_id, sealed=sealed, save_untested=save_untested)
        return await me.ask(KEY_ROTATE, request, timeout_seconds=TEST_SECONDS)

    _show(run(work, tenant=tenant), "rotated", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def revert(key_id: str, tenant: str, as_json: bool) -> None:
    """Restore KEY_ID to what it was before its last rotation."""
    request = RevertKey(tenant=tenant, key_id=_require_key_id(key_id))
    _show(run(lambda me: me.ask(KEY_REVERT, request, timeout_seconds=TEST_SECONDS), tenant=tenant), "reverted", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@click.option("--label", help="Display name.")
@click.option("--name", help="The name of its own server: models are then called as NAME/MODEL.")
@scope_options
@click.option("--priority", type=int, help="Lower is used first, 0 to 1000.")
@click.option("--weight", type=int, help="Its share among keys of the same priority.")
@click.option("--model", "models", multiple=True, help="A model that it may be used for; repeatable.")
@click.option("--expires", help=EXPIRY_HELP)
@click.option("--monthly-limit", help="US dollars per calendar month (UTC); the key is not used beyond that.")
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(["allowed_models", "expires_at", "monthly_limit_usd", "name", "team", "member"]),
    help="Remove a restriction; repeatable.",
)
@json_option
def edit(
    key_id: str,
    tenant: str,
    label: str | None,
    name: str | None,
    team: str | None,
    member: str | None,
    priority: int | None,
    weight: int | None,
    models: tuple[str, ...],
    expires: str | None,
    monthly_limit: str | None,
    clear: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change the properties of KEY_ID, not the key itself. Options that are not given stay as they are."""
    request = EditKey.model_validate(
        {
            "tenant": tenant,
            "key_id": _require_key_id(key_id),
            "label": label,
            "name": name,
            "team": team,
            "member": member,
            "priority": priority,
            "weight": weight,
            "allowed_models": list(models) or None,
            "expires_at": parse_key_expiry(expires),
            "monthly_limit_usd": parse_monthly_limit(monthly_limit),
            "clear": list(clear),
        }
    )
    if request == EditKey(tenant=tenant, key_id=key_id):
        raise Problem("nothing to change", "Give at least one option; `keyferry keys edit --help` lists them")
    _ask_and_show(KEY_EDIT, request, "changed", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def enable(key_id: str, tenant: str, as_json: bool) -> None:
    """Enable KEY_ID again."""
    _ask_and_show(KEY_EDIT, EditKey(tenant=tenant, key_id=_require_key_id(key_id), disabled=False), "enabled", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def disable(key_id: str, tenant: str, as_json: bool) -> None:
    """Disable KEY_ID without removing it."""
    _ask_and_show(KEY_EDIT, EditKey(tenant=tenant, key_id=_require_key_id(key_id), disabled=True), "disabled", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
def rm(key_id: str, tenant: str, yes: bool, as_json: bool) -> None:
    """Destroy KEY_ID, and show which key pays from now on."""
    checked_id = _require_key_id(key_id)
    if not yes:
        click.confirm(f"Destroy {checked_id} of {tenant}? This cannot be undone", abort=True, err=True)

    async def work(me: Connection) -> tuple[KeyRemoved, str]:
        removed = await me.ask(KEY_REMOVE, RemoveKey(tenant=tenant, key_id=checked_id))
        return removed, await _describe_payer(me, removed.key)

    removed, then = run(work, tenant=tenant)
    if as_json:
        click.echo(removed.model_dump_json(indent=2))
        return
    click.echo(f"removed {checked_id} ({removed.key.label}, {removed.key.masked})\n{then}")


@command.command("import")
@click.option("--save-untested", is_flag=True, help="Store them even if their tests are inconclusive.")
@json_option
def import_(save_untested: bool, as_json: bool) -> int:
    """Import platform keys from OPENAI_API_KEY, ANTHROPIC_API_KEY and similar variables; never the same key twice."""
    return import_keys(save_untested=save_untested, as_json=as_json, timeout_seconds=TEST_SECONDS)


def parse_fields(fields: tuple[str, ...]) -> dict[str, str]:
    """Parse `NAME=VALUE` pairs. Raises Problem."""
    pairs = [text.partition("=") for text in fields]
    if any(not separator or not name for name, separator, _ in pairs):
        raise Problem("a field must read NAME=VALUE", "For example --field region=eu-central-1")
    return {name: value for name, _, value in pairs}


def _read(provider: str, key_file: str | None) -> Secret:
    facts = PROVIDERS[require_provider(provider)]
    where = f" (get one at {facts.key_url})" if facts.key_url else ""
    return read_key(key_file, f"{facts.title}: {facts.key_description}{where}")


def _require_key_id(text: str) -> str:
    if not text.startswith(f"{ids.PROVIDER_KEY}_"):
        # Nothing is sent or repeated: the argument may be the key itself.
        raise Problem(
            f"that is not a key id, which begins with {ids.PROVIDER_KEY}_",
            "`keyferry keys list --tenant TENANT` shows each key's id; never give the key itself on the command line",
        )
    return text


def _ask_and_show(subject: Subject[EditKey, ProviderKey], request: EditKey, done: str, as_json: bool) -> None:
    _show(run(lambda me: me.ask(subject, request), tenant=request.tenant), done, as_json)


def _show(key: ProviderKey, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(key.model_dump_json(indent=2))
        return
    click.echo(f"{done} {key_output.format_key(key)}")
    if key.unlisted_models:
        click.echo(key_output.warn_unlisted(key), err=True)
    if key.last_test is not None and done not in ("changed", "enabled", "disabled"):
        click.echo(key_output.format_test(key.last_test))


async def _find_key(me: Connection, tenant: str, key_id: str) -> ProviderKey:
    keys = await _list_keys(me, tenant)
    found = next((key for key in keys if key.key_id == key_id), None)
    if found is None:
        raise Problem(f"{tenant} has no key {key_id}", f"`keyferry keys list --tenant {tenant}` shows them")
    return found


async def _list_keys(me: Connection, tenant: str, created_by: str | None = None) -> list[ProviderKey]:
    return (await me.ask(KEY_LIST, ListKeys(tenant=tenant, created_by=created_by))).keys


async def _list_tenants(me: Connection) -> list[str]:
    known = (await me.ask(TENANT_LIST, ListTenants())).tenants
    return list(dict.fromkeys([PLATFORM_TENANT, *(one.tenant for one in known)]))


async def _describe_payer(me: Connection, removed: ProviderKey) -> str:
    """Describe which key pays now. The key is removed already, so a failed lookup is reported and not raised."""
    try:
        policy = await _policy(me, removed.tenant)
        own, platform = await _list_keys(me, removed.tenant), await _list_keys(me, PLATFORM_TENANT)
    except (Refused, BusError, Problem) as error:
        return f"which key pays now is unknown: {error}"
    return key_output.describe_next_payer(removed, policy, own, platform)


async def _policy(me: Connection, tenant: str) -> KeyPolicy | None:
    return (await me.ask(TENANT_GET, GetTenant(tenant=tenant))).key_policy
