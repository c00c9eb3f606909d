"""Routing rules, their differences and dry runs as text. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from keyferry.cli.terminal import format_table, format_time, format_usd
from keyferry.contracts.rule_management import (
    DryRunReport,
    ModelMove,
    RuleDifference,
    RuleDraft,
    RuleSetVersion,
    RuleVersions,
)
from keyferry.contracts.rule_text import format_rule_set
from keyferry.contracts.rules import RuleFinding

_REFUSED = "refused"


def format_findings(findings: Iterable[RuleFinding]) -> Iterator[str]:
    """Yield a line for each finding, faults first."""
    for finding in sorted(findings, key=lambda each: not each.fault):
        level = "fault" if finding.fault else "warning"
        where = f", rule {finding.rule}" if finding.rule else ""
        yield f"{level}{where}: {finding.detail}"


def format_version_file(tenant: str, version: RuleSetVersion | RuleDraft | None) -> Iterator[str]:
    """Yield the lines of a YAML file with a version or a draft; comments say which it is."""
    if version is None:
        yield f"# {tenant} has published no routing rules."
        yield "rules: []"
        return
    if isinstance(version, RuleDraft):
        yield f"# Draft of the routing rules of {tenant}, revision {version.revision}, based on version {version.based_on},"
        yield f"# saved {format_time(version.saved_at)} by {version.actor}"
    else:
        yield f"# Routing rules of {tenant}, version {version.version},"
        yield f"# published {format_time(version.published_at)} by {version.actor}"
        if version.restored_from is not None:
            yield f"# It restores version {version.restored_from}."
        if version.note:
            yield f"# {version.note}"
    yield from format_rule_set(version.rule_set)


def format_versions(tenant: str, found: RuleVersions) -> str:
    """Return the table of versions."""
    rows = [
        (
            f"{each.version}{' *' if each.version == found.published else ''}",
            format_time(each.published_at),
            each.actor,
            str(each.rules),
            _note(each.note, each.restored_from),
        )
        for each in found.versions
    ]
    empty = f"{tenant} has published no routing rules: `keyferry route publish --tenant {tenant} FILE` does"
    return format_table(("VERSION", "PUBLISHED", "BY", "RULES", "NOTE"), rows, empty=empty)


def _note(note: str, restored_from: int | None) -> str:
    restored = f"restores version {restored_from}" if restored_from is not None else ""
    return "; ".join(filter(None, (restored, note)))


def format_difference(found: RuleDifference) -> Iterator[str]:
    """Yield the rules that differ, the difference of the files, and the findings."""
    base = f"version {found.version}" if found.version else "no rules"
    if not found.changes and not found.text:
        yield f"no difference to {base}"
    else:
        yield f"compared with {base}:"
        for each in found.changes:
            fields = f" ({', '.join(each.fields)})" if each.fields else ""
            yield f"  {each.change.value} {each.rule}{fields}"
        yield from found.text
    yield from format_findings(found.findings)


def format_report(report: DryRunReport) -> Iterator[str]:
    """Yield the report of a dry run."""
    if not report.requests:
        yield "no past requests in this period: nothing to plan again"
    else:
        more = "; the period has more" if report.more else ""
        yield f"{report.requests} past requests, {format_time(report.oldest)} to {format_time(report.newest)}{more}"
        yield f"  {report.changed} would change, {report.refused} would be refused ({report.newly_refused} of these are not now)"
        yield f"  cost: {_change_of_cost(report.cost_before_usd, report.cost_after_usd, report.unpriced)}"
        yield f"  latency: {_change_of_latency(report.latency_before_ms, report.latency_after_ms)}"
        if report.moves:
            yield ""
            yield format_table(
                ("FROM", "TO", "REQUESTS", "COST", "LATENCY"), [_row(move) for move in report.moves], empty=""
            )
    if report.matches:
        yield ""
        rows = [
            (each.rule, str(each.requests) if each.requests else "0: none of these requests") for each in report.matches
        ]
        yield format_table(("RULE", "MATCHES"), rows, empty="")
    if report.examples:
        yield ""
        yield format_table(("REQUEST", "OPERATION", "RULE", "FROM", "TO"), _examples(report), empty="")
    yield from format_findings(report.findings)


def _row(move: ModelMove) -> Sequence[str]:
    return (
        move.before or _REFUSED,
        move.after or _REFUSED,
        str(move.requests),
        _change_of_cost(move.cost_before_usd, move.cost_after_usd, move.unpriced),
        _change_of_latency(move.latency_before_ms, move.latency_after_ms),
    )


def _examples(report: DryRunReport) -> list[Sequence[str]]:
    return [
        (
            each.request_id,
            each.operation or "-",
            each.rule or "-",
            each.before or _REFUSED,
            each.after or f"{_REFUSED}: {each.reason}",
        )
        for each in report.examples
    ]


def _change_of_cost(before: Decimal | None, after: Decimal | None, unpriced: int) -> str:
    unknown = f" + {unpriced} unknown" if unpriced else ""
    if before is None or after is None:
        return f"{unpriced} unknown" if unpriced else "unknown"
    if before == after:
        return f"{format_usd(before)}, as before{unknown}"
    sign = "+" if after > before else "-"
    return f"{format_usd(before)} -> {format_usd(after)} ({sign}{format_usd(abs(after - before))}){unknown}"


def _change_of_latency(before: int | None, after: int | None) -> str:
    if before is None and after is None:
        return "unknown"
    return " -> ".join("unknown" if each is None else f"{each} ms" for each in (before, after))
