"""`keyferry tenants compliance`."""

from collections.abc import Sequence
from datetime import UTC, datetime

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, format_time, json_option, parse_past
from keyferry.contracts.compliance import ComplianceReport, RecordedChange
from keyferry.contracts.tenancy import ContentPolicy
from keyferry.runtime.compliance_report import compliance_report, report_query

_SPAN = ("COUNT", "FIRST", "LAST")
_STORED = {
    ContentPolicy.OFF: "not stored",
    ContentPolicy.REDACTED: "stored, encrypted, without what has the form of a credential or of a person's data",
    ContentPolicy.FULL: "stored, encrypted",
}


@click.command()
@click.argument("tenant")
@click.option(
    "--from", "since", metavar="TIME", help="From then on: a date or time, or a span such as 7d (default: 30d)."
)
@click.option("--to", "until", metavar="TIME", help="Before this; as --from (default: now).")
@json_option
def compliance(tenant: str, since: str | None, until: str | None, as_json: bool) -> None:
    """Report who did what with TENANT's data, where it went, how it is kept, and what was deleted."""
    now = datetime.now(UTC)
    begin, end = (None if text is None else parse_past(text, now) for text in (since, until))
    query = report_query(tenant, begin, end, now)
    found = run(lambda me: compliance_report(me.ask, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else describe_report(found))


def describe_report(found: ComplianceReport) -> str:
    """Return a report as people read it."""
    parts = [f"compliance report of {found.tenant}: {format_time(found.since)} to {format_time(found.until)}"]
    parts += [_title("WHO DID WHAT", found, "activities"), _activities(found)]
    parts += [_title("WHERE DATA WENT", found, "destinations"), _destinations(found)]
    parts += [_title("HOW DATA IS KEPT NOW", found, ""), *_kept(found)]
    parts += [_title("CHANGES OF THE SETTINGS", found, "policy_changes"), _changes(found.policy_changes)]
    parts += [_title("PROVIDER KEYS", found, "keys"), _keys(found)]
    parts += [_title("DELETIONS", found, "deletions"), _changes(found.deletions)]
    return "\n".join(parts)


def _title(title: str, found: ComplianceReport, part: str) -> str:
    more = " (there is more than is shown: choose a shorter span)" if part in found.shortened else ""
    return f"\n{title}{more}"


def _span(count: int, first: datetime, last: datetime) -> tuple[str, str, str]:
    return str(count), format_time(first), format_time(last)


def _activities(found: ComplianceReport) -> str:
    rows = [
        (
            *(each.actor, each.action, each.resource or "-", each.outcome.value),
            *_span(each.count, each.first_at, each.last_at),
        )
        for each in found.activities
    ]
    return format_table(("ACTOR", "ACTION", "READ", "OUTCOME", *_SPAN), rows, empty="nothing is recorded")


def _destinations(found: ComplianceReport) -> str:
    rows = [
        (
            *(each.provider, each.endpoint or "-", each.origin or "the provider's own", each.region or "-"),
            *(each.key_source.value, each.key_id or "-"),
            *_span(each.attempts, each.first_at, each.last_at),
        )
        for each in found.destinations
    ]
    heads = ("PROVIDER", "ENDPOINT", "ADDRESS", "REGION", "KEY OF", "KEY", *_SPAN)
    return format_table(heads, rows, empty="no request went to any provider")


def _kept(found: ComplianceReport) -> Sequence[str]:
    days = f", for {found.content_days} days" if found.content is not ContentPolicy.OFF else ""
    return (
        f"prompts and answers: {_STORED[found.content]}{days}",
        f"records of attempts: {_days(found.attempts_kept_days)}; of decisions: {_days(found.decisions_kept_days)}",
    )


def _days(days: int | None) -> str:
    return "for ever" if days is None else f"{days} days at least"


def _changes(changes: Sequence[RecordedChange]) -> str:
    rows = [
        (
            *(format_time(each.at), each.actor, each.action, each.target, each.outcome.value),
            "; ".join(f"{name}: {value}" for name, value in sorted(each.details.items())) or "-",
        )
        for each in changes
    ]
    return format_table(("AT", "ACTOR", "ACTION", "TARGET", "OUTCOME", "DETAILS"), rows, empty="none")


def _keys(found: ComplianceReport) -> str:
    rows = [
        (each.key_id, each.action, each.outcome.value, *_span(each.count, each.first_at, each.last_at))
        for each in found.keys
    ]
    return format_table(("KEY", "ACTION", "OUTCOME", *_SPAN), rows, empty="nothing happened to any key")
