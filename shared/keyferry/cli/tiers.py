"""`keyferry tiers`."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.tiers import ENFORCED, GetTiers, TierFacts
from keyferry.contracts.topology import TIER_LIST


@click.command()
@json_option
def command(as_json: bool) -> None:
    """Show what each tier includes: limits, provider keys and features."""
    table = run(lambda me: me.ask(TIER_LIST, GetTiers()))
    if as_json:
        click.echo(table.model_dump_json(indent=2))
        return
    heads = ("TIER", "RPM", "TPM", "CONCURRENCY", "KEYS PER PROVIDER", "FEATURES")
    click.echo(format_table(heads, [_row(facts) for facts in table.tiers], empty="no tiers"))
    listed = dict.fromkeys(each.value for facts in table.tiers for each in facts.features if each not in ENFORCED)
    if listed:
        click.echo(f"The gateway does not enforce {', '.join(listed)}: what they mean is between operator and tenant.")


def _row(facts: TierFacts) -> tuple[str, ...]:
    keys = "any number" if facts.keys_per_provider is None else str(facts.keys_per_provider)
    limits = facts.limits
    shown = (str(limits.rpm), str(limits.tpm), str(limits.concurrency))
    return (facts.tier.value, *shown, keys, ", ".join(feature.value for feature in facts.features) or "-")
