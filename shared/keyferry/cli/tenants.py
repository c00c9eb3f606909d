"""`keyferry tenants`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.limits import describe_limits, limit_changes, limit_options
from keyferry.cli.problem import Problem
from keyferry.cli.tenant_compliance import compliance
from keyferry.cli.tenant_deletion import delete, report
from keyferry.cli.tenant_export import export
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.limits import LimitChange
from keyferry.contracts.tenancy import (
    DEFAULT_TIER,
    MAX_CONTENT_DAYS,
    ByokUse,
    ContentPolicy,
    CreateTenant,
    KeyPolicy,
    ListTenants,
    Tenant,
    Tier,
    UpdateTenant,
)
from keyferry.contracts.topology import TENANT_CREATE, TENANT_LIST, TENANT_UPDATE

_SETTINGS = (
    "--keys, --[no-]drop-unsupported, --allow-unapproved, --only-approved, --byok, --content, --content-days or"
    " --time-zone"
)
_TIERS = click.Choice([tier.value for tier in Tier])
_POLICIES = {policy.value.replace("_", "-"): policy for policy in KeyPolicy}
_KEYS_USED = {
    None: "its own keys if it has any, else the platform's",
    KeyPolicy.PLATFORM: "the platform's keys only",
    KeyPolicy.OWN: "its own keys only",
    KeyPolicy.OWN_THEN_PLATFORM: "its own keys, then the platform's",
}


@click.group()
def command() -> None:
    """Manage tenants, the companies that use this installation."""


@command.command()
@click.argument("tenant")
@click.option("--name", help="Display name (default: its id).")
@click.option("--tier", type=_TIERS, default=DEFAULT_TIER.value, show_default=True, help="The plan it has bought.")
@limit_options
@json_option
def create(
    tenant: str,
    name: str | None,
    tier: str,
    rpm: LimitChange | None,
    tpm: LimitChange | None,
    concurrency: LimitChange | None,
    as_json: bool,
) -> None:
    """Create TENANT, an id of a-z, 0-9 and hyphens."""
    limits = limit_changes(rpm, tpm, concurrency)
    command = CreateTenant(tenant=tenant, name=tenant if name is None else name, tier=Tier(tier), limits=limits)
    _show(run(lambda me: me.ask(TENANT_CREATE, command)), "created", as_json)


@command.command()
@click.argument("tenant")
@click.option("--name", help="Display name.")
@click.option("--tier", type=_TIERS, help="The plan it has bought.")
@click.option("--suspend/--resume", "suspended", default=None, help="Refuse its requests, or accept them again.")
@click.option("--follow-subscription", is_flag=True, help="Have the tier follow its subscription, if it was set here.")
@limit_options
@json_option
def update(
    tenant: str,
    name: str | None,
    tier: str | None,
    suspended: bool | None,
    follow_subscription: bool,
    rpm: LimitChange | None,
    tpm: LimitChange | None,
    concurrency: LimitChange | None,
    as_json: bool,
) -> None:
    """Change TENANT. Options that are not given stay as they are."""
    limits = limit_changes(rpm, tpm, concurrency)
    if name is None and tier is None and suspended is None and limits is None and not follow_subscription:
        options = "--name, --tier, --suspend, --resume, --rpm, --tpm, --concurrency or --follow-subscription"
        raise Problem("nothing to change", f"Give {options}")
    command = UpdateTenant(
        tenant=tenant,
        name=name,
        tier=Tier(tier) if tier else None,
        suspended=suspended,
        limits=limits,
        follow_subscription=follow_subscription or None,
    )
    _show(run(lambda me: me.ask(TENANT_UPDATE, command), tenant=tenant), "changed", as_json)


@command.command("set")
@click.argument("tenant")
@click.option("--keys", type=click.Choice(list(_POLICIES)), help="Whose provider keys may pay for its requests.")
@click.option(
    "--drop-unsupported/--no-drop-unsupported",
    default=None,
    help="Drop and report request fields that a provider does not support, or refuse such requests.",
)
@click.option(
    "--allow-unapproved/--only-approved",
    default=None,
    help="Allow its own keys for models outside the catalog that they list, or for approved models only.",
)
@click.option(
    "--byok",
    type=click.Choice([use.value for use in ByokUse]),
    help="Use its own provider keys or pause them all, or as the installation's settings say.",
)
@click.option(
    "--content",
    type=click.Choice([policy.value for policy in ContentPolicy]),
    help="What is stored of its prompts and answers from now on.",
)
@click.option("--content-days", type=click.IntRange(1, MAX_CONTENT_DAYS), help="For how many days that is stored.")
@click.option("--time-zone", help="Whose days, weeks and months pages count by, as Europe/Berlin.")
@json_option
def set_(
    tenant: str,
    keys: str | None,
    drop_unsupported: bool | None,
    allow_unapproved: bool | None,
    byok: str | None,
    content: str | None,
    content_days: int | None,
    time_zone: str | None,
    as_json: bool,
) -> None:
    """Set how TENANT's requests are handled. Options that are not given stay as they are."""
    given = (keys, drop_unsupported, allow_unapproved, byok, content, content_days, time_zone)
    if all(value is None for value in given):
        raise Problem("nothing to set", f"Give {_SETTINGS}")
    command = UpdateTenant(
        tenant=tenant,
        time_zone=time_zone,
        key_policy=_POLICIES[keys] if keys else None,
        drop_unsupported=drop_unsupported,
        allow_unapproved=allow_unapproved,
        byok=ByokUse(byok) if byok else None,
        content=ContentPolicy(content) if content else None,
        content_days=content_days,
    )
    changed = run(lambda me: me.ask(TENANT_UPDATE, command), tenant=tenant)
    if as_json:
        click.echo(changed.model_dump_json(indent=2))
        return
    fields = "dropped and reported" if changed.drop_unsupported else "refused"
    models = (
        "any model that its own keys list may be called"
        if changed.allow_unapproved
        else "only approved models may be called"
    )
    keys_used = f"requests use {_KEYS_USED[changed.key_policy]}"
    own = {
        ByokUse.ON: "; its own keys are switched on",
        ByokUse.OFF: "; its own keys are paused, and none can be added",
    }
    click.echo(
        f"set {changed.tenant}: {keys_used}; unsupported fields are {fields}; {models}{own.get(changed.byok, '')}"
    )
    if content is not None or content_days is not None:
        click.echo(_describe_content(changed))
    if time_zone is not None:
        click.echo(f"pages count days, weeks and months by {changed.time_zone}")


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List all tenants."""
    found = run(lambda me: me.ask(TENANT_LIST, ListTenants()))
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    rows = [
        (t.tenant, t.name, t.tier.value, describe_limits(t.limits), _describe_policy(t), _state(t))
        for t in found.tenants
    ]
    heads = ("TENANT", "NAME", "TIER", "LIMITS", "KEYS", "STATE")
    click.echo(format_table(heads, rows, empty="no tenants: `keyferry tenants create` adds one"))


command.add_command(compliance)
command.add_command(delete)
command.add_command(export)
command.add_command(report)


def _show(tenant: Tenant, done: str, as_json: bool) -> None:
    if as_json:
        click.echo(tenant.model_dump_json(indent=2))
        return
    click.echo(f"{done} {tenant.tenant}: {tenant.name}, tier {tenant.tier}, {_state(tenant)}")
    click.echo(f"limits: {describe_limits(tenant.limits)}; `keyferry tiers` shows what the tier includes")


def _state(tenant: Tenant) -> str:
    if tenant.deleted_at is not None:
        return "deleted"
    return "suspended" if tenant.suspended else "active"


def _describe_content(tenant: Tenant) -> str:
    """Say what follows from a content policy."""
    if tenant.content is ContentPolicy.OFF:
        return "prompts and answers are not stored; what is stored already goes when its time is over"
    what = "prompts and answers are stored, encrypted,"
    if tenant.content is ContentPolicy.REDACTED:
        what = "prompts and answers are stored, encrypted, without what has the form of a credential or of a person's data,"
    return f"{what} for {tenant.content_days} days; owners and administrators can read them, and the audit records each reading"


def _describe_policy(tenant: Tenant) -> str:
    return "default" if tenant.key_policy is None else tenant.key_policy.value.replace("_", "-")
