"""`keyferry keys`: sealed here, tested by a worker, stored by the vault, shown masked."""

from datetime import UTC, datetime
from decimal import Decimal

import click

from keyferry.cli import key_output as key_output
from keyferry.cli.connection import OperatorConnection, run
from keyferry.cli.key_importing import import_keys
from keyferry.cli.key_input import read_key
from keyferry.cli.key_sealing import intake_key, require_provider, seal, seal_for_origin
from keyferry.cli.options import json_option, tenant_option
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import parse_time
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
from keyferry.contracts.money import usd
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy, ListTenants
from keyferry.contracts.topology import (
    KEY_ADD,
    KEY_EDIT,
    KEY_LIST,
    KEY_REMOVE,
    KEY_REVERT,
    KEY_ROTATE,
    KEY_TEST,
    KEY_TRY,
    TENANT_LIST,
    Subject,
)
from keyferry.runtime.bus.requests import BusError, Refused

TEST_SECONDS = 90.0
"""A test calls the provider several times, and another worker where the first is gone."""

provider_option = click.option(
    "--provider", required=True, metavar="NAME", help="Whose key it is: openai, anthropic, …"
)
key_file_option = click.option(
    "--key-file", metavar="FILE", help="Read the key from this file, `-` is standard input. Default: ask for it."
)
base_url_option = click.option("--base-url", help="Where the key is used, for providers without one address.")
field_option = click.option(
    "--field", "fields", multiple=True, metavar="NAME=VALUE", help="What the provider needs beside the key; repeat it."
)
untested_option = click.option("--save-untested", is_flag=True, help="Store it also where its test could tell nothing.")


@click.group()
def command() -> None:
    """Provider keys: what pays for a tenant's requests."""


@command.command()
@provider_option
@tenant_option
@key_file_option
@base_url_option
@field_option
@click.option("--label", default="command line", show_default=True, help="What people call it.")
@click.option("--priority", default=100, show_default=True, help="The lower is used first, 0 to 1000.")
@click.option("--weight", default=1, show_default=True, help="Its share among keys of the same priority.")
@click.option("--model", "models", multiple=True, help="A model it may be used for; repeat it. Default: all of them.")
@click.option("--expires", help="When it is used no more: 2026-12-31, or 2026-12-31T12:00 (UTC).")
@click.option("--monthly-limit", help="US dollars a calendar month (UTC), after which it is not used.")
@untested_option
@json_option
def add(
    provider: str,
    tenant: str,
    key_file: str | None,
    base_url: str | None,
    fields: tuple[str, ...],
    label: str,
    priority: int,
    weight: int,
    models: tuple[str, ...],
    expires: str | None,
    monthly_limit: str | None,
    save_untested: bool,
    as_json: bool,
) -> None:
    """Add a key. It is sealed here, tested against its provider, and stored when the provider accepts it."""
    given, limit, until = parse_fields(fields), _dollars(monthly_limit), _moment(expires)
    key = _read(provider, key_file)

    async def work(me: OperatorConnection) -> ProviderKey:
        sealed = seal(await intake_key(me), tenant, provider, base_url, given, key)
        asked = AddKey(
            tenant=tenant,
            provider=provider,
            sealed=sealed,
            base_url=base_url,
            fields=given,
            label=label,
            priority=priority,
            weight=weight,
            allowed_models=list(models) or None,
            expires_at=until,
            monthly_limit_usd=limit,
            save_untested=save_untested,
        )
        return await me.ask(KEY_ADD, asked, timeout_seconds=TEST_SECONDS)

    _show(run(work), "added", as_json)


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
    """Test a key and store nothing. The exit status is 0 when it works."""
    given = parse_fields(fields)
    key = _read(provider, key_file)

    async def work(me: OperatorConnection) -> KeyTest:
        sealed = seal(await intake_key(me), tenant, provider, base_url, given, key)
        asked = TryKey(tenant=tenant, provider=provider, sealed=sealed, base_url=base_url, fields=given)
        return await me.ask(KEY_TRY, asked, timeout_seconds=TEST_SECONDS)

    check = run(work)
    click.echo(check.model_dump_json(indent=2) if as_json else key_output.steps(check))
    return 0 if check.result is KeyTestResult.VALID else 1


@command.command("list")
@tenant_option
@click.option("--all-tenants", is_flag=True, help="Every tenant's instead, the platform's included.")
@click.option("--created-by", metavar="NAME", help="Only those that NAME added, or gave the secret in use of.")
@json_option
def list_(tenant: str, all_tenants: bool, created_by: str | None, as_json: bool) -> None:
    """A tenant's keys, in the order in which they are used."""

    async def work(me: OperatorConnection) -> list[ProviderKey]:
        tenants = await _list_tenants(me) if all_tenants else [tenant]
        return [key for name in tenants for key in await _list_keys(me, name, created_by)]

    keys = run(work)
    if as_json:
        click.echo(ProviderKeys(keys=keys).model_dump_json(indent=2))
    elif all_tenants:
        click.echo(key_output.format_keys_with_tenants(keys))
    else:
        click.echo(key_output.format_keys(keys, tenant))


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def test(key_id: str, tenant: str, as_json: bool) -> None:
    """Test KEY_ID now, and show how each step went."""
    asked = TestKey(tenant=tenant, key_id=_key_id(key_id))
    _show(run(lambda me: me.ask(KEY_TEST, asked, timeout_seconds=TEST_SECONDS)), "tested", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@key_file_option
@untested_option
@json_option
def rotate(key_id: str, tenant: str, key_file: str | None, save_untested: bool, as_json: bool) -> None:
    """Put another key in the place of KEY_ID's. The former one is kept for a while: `keyferry keys revert`."""
    named = _key_id(key_id)
    secret = read_key(key_file, f"The key to replace {named}")

    async def work(me: OperatorConnection) -> ProviderKey:
        key = await _find_key(me, tenant, named)
        sealed = seal_for_origin(await intake_key(me), tenant, key.provider, key.origin, secret)
        asked = RotateKey(tenant=tenant, key_id=named, sealed=sealed, save_untested=save_untested)
        return await me.ask(KEY_ROTATE, asked, timeout_seconds=TEST_SECONDS)

    _show(run(work), "rotated", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def revert(key_id: str, tenant: str, as_json: bool) -> None:
    """Go back to what KEY_ID was before its last rotation."""
    asked = RevertKey(tenant=tenant, key_id=_key_id(key_id))
    _show(run(lambda me: me.ask(KEY_REVERT, asked, timeout_seconds=TEST_SECONDS)), "reverted", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@click.option("--label", help="What people call it.")
@click.option("--priority", type=int, help="The lower is used first, 0 to 1000.")
@click.option("--weight", type=int, help="Its share among keys of the same priority.")
@click.option("--model", "models", multiple=True, help="A model it may be used for; repeat it.")
@click.option("--expires", help="When it is used no more: 2026-12-31, or 2026-12-31T12:00 (UTC).")
@click.option("--monthly-limit", help="US dollars a calendar month (UTC), after which it is not used.")
@click.option(
    "--clear",
    multiple=True,
    type=click.Choice(["allowed_models", "expires_at", "monthly_limit_usd"]),
    help="Take a restriction away; repeat it.",
)
@json_option
def edit(
    key_id: str,
    tenant: str,
    label: str | None,
    priority: int | None,
    weight: int | None,
    models: tuple[str, ...],
    expires: str | None,
    monthly_limit: str | None,
    clear: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change what is known of KEY_ID without entering the key again; what is not given stays."""
    asked = EditKey.model_validate(
        {
            "tenant": tenant,
            "key_id": _key_id(key_id),
            "label": label,
            "priority": priority,
            "weight": weight,
            "allowed_models": list(models) or None,
            "expires_at": _moment(expires),
            "monthly_limit_usd": _dollars(monthly_limit),
            "clear": list(clear),
        }
    )
    if asked == EditKey(tenant=tenant, key_id=key_id):
        raise Problem("nothing to change", "Give what is to change; `keyferry keys edit --help` shows it all")
    _ask_and_show(KEY_EDIT, asked, "changed", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def enable(key_id: str, tenant: str, as_json: bool) -> None:
    """Use KEY_ID again."""
    _ask_and_show(KEY_EDIT, EditKey(tenant=tenant, key_id=_key_id(key_id), disabled=False), "enabled", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@json_option
def disable(key_id: str, tenant: str, as_json: bool) -> None:
    """Keep KEY_ID, but do not use it."""
    _ask_and_show(KEY_EDIT, EditKey(tenant=tenant, key_id=_key_id(key_id), disabled=True), "disabled", as_json)


@command.command()
@click.argument("key_id")
@tenant_option
@click.option("--yes", is_flag=True, help="Do not ask again.")
@json_option
def rm(key_id: str, tenant: str, yes: bool, as_json: bool) -> None:
    """Destroy KEY_ID, and say who pays from then on."""
    named = _key_id(key_id)
    if not yes:
        click.confirm(f"Destroy {named} of {tenant}? It cannot be brought back", abort=True, err=True)

    async def work(me: OperatorConnection) -> tuple[KeyRemoved, str]:
        removed = await me.ask(KEY_REMOVE, RemoveKey(tenant=tenant, key_id=named))
        return removed, await _describe_payer(me, removed.key)

    removed, then = run(work)
    if as_json:
        click.echo(removed.model_dump_json(indent=2))
        return
    click.echo(f"removed {named} ({removed.key.label}, {removed.key.masked})\n{then}")


@command.command("import")
@click.option("--save-untested", is_flag=True, help="Store them also where their test could tell nothing.")
@json_option
def import_(save_untested: bool, as_json: bool) -> int:
    """Take the platform's keys from OPENAI_API_KEY, ANTHROPIC_API_KEY and their like: each once, also if it is removed later."""
    return import_keys(save_untested=save_untested, as_json=as_json, timeout_seconds=TEST_SECONDS)


def parse_fields(fields: tuple[str, ...]) -> dict[str, str]:
    """`NAME=VALUE` each. Raises Problem."""
    pairs = [text.partition("=") for text in fields]
    if any(not separator or not name for name, separator, _ in pairs):
        raise Problem("a field must read NAME=VALUE", "Such as --field region=eu-central-1")
    return {name: value for name, _, value in pairs}


def _read(provider: str, key_file: str | None) -> Secret:
    facts = PROVIDERS[require_provider(provider)]
    where = f" (get one at {facts.key_url})" if facts.key_url else ""
    return read_key(key_file, f"{facts.title}: {facts.key_words}{where}")


def _key_id(text: str) -> str:
    if not text.startswith(f"{ids.PROVIDER_KEY}_"):
        # Nothing is sent or repeated: what was given may be the key itself.
        raise Problem(
            f"that is no key id, which begins with {ids.PROVIDER_KEY}_",
            "`keyferry keys list` shows each key's id beside its last characters; give no key on the command line",
        )
    return text


def _moment(text: str | None) -> datetime | None:
    return parse_time(text, datetime.now(UTC)) if text else None


def _dollars(text: str | None) -> Decimal | None:
    try:
        amount = None if text is None else usd(text)
    except ValueError:
        raise Problem(f"{text!r} is not an amount of US dollars", "Write it like 50 or 12.50") from None
    if amount is not None and amount < 0:
        raise Problem("a monthly limit cannot be negative", "Write it like 50 or 12.50")
    return amount


def _ask_and_show(subject: Subject[EditKey, ProviderKey], asked: EditKey, done: str, as_json: bool) -> None:
    _show(run(lambda me: me.ask(subject, asked)), done, as_json)


def _show(key: ProviderKey, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(key.model_dump_json(indent=2))
        return
    click.echo(f"{done} {key_output.line(key)}")
    if key.last_test is not None and done not in ("changed", "enabled", "disabled"):
        click.echo(key_output.steps(key.last_test))


async def _find_key(me: OperatorConnection, tenant: str, key_id: str) -> ProviderKey:
    keys = await _list_keys(me, tenant)
    found = next((key for key in keys if key.key_id == key_id), None)
    if found is None:
        raise Problem(f"{tenant} has no key {key_id}", f"`keyferry keys list --tenant {tenant}` shows them")
    return found


async def _list_keys(me: OperatorConnection, tenant: str, created_by: str | None = None) -> list[ProviderKey]:
    return (await me.ask(KEY_LIST, ListKeys(tenant=tenant, created_by=created_by))).keys


async def _list_tenants(me: OperatorConnection) -> list[str]:
    known = (await me.ask(TENANT_LIST, ListTenants())).tenants
    return list(dict.fromkeys([PLATFORM_TENANT, *(one.tenant for one in known)]))


async def _describe_payer(me: OperatorConnection, removed: ProviderKey) -> str:
    """Who pays now. The key is gone already, so what cannot be asked is said, and is no failure."""
    try:
        policy = await _policy(me, removed.tenant)
        own, platform = await _list_keys(me, removed.tenant), await _list_keys(me, PLATFORM_TENANT)
    except (Refused, BusError, Problem) as error:
        return f"who pays now could not be asked: {error}"
    return key_output.describe_next_payer(removed, policy, own, platform)


async def _policy(me: OperatorConnection, tenant: str) -> KeyPolicy | None:
    tenants = (await me.ask(TENANT_LIST, ListTenants())).tenants
    return next((known.key_policy for known in tenants if known.tenant == tenant), None)
