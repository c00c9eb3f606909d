"""`keyferry route`: routing rules, from a YAML file to every router; and why a request went where it went."""

from datetime import UTC, datetime
from pathlib import Path

import click

from keyferry.cli import explain
from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.rule_file import read_rule_file
from keyferry.cli.rule_output import (
    format_difference,
    format_findings,
    format_report,
    format_version_file,
    format_versions,
)
from keyferry.cli.terminal import json_option, parse_past, tenant_option
from keyferry.contracts.routing_management import (
    RULES_COMPARE,
    RULES_DISCARD_DRAFT,
    RULES_DRY_RUN,
    RULES_GET,
    RULES_PUBLISH,
    RULES_ROLL_BACK,
    RULES_SAVE_DRAFT,
    RULES_VERSIONS,
)
from keyferry.contracts.rule_checks import check_rule_set, is_fault
from keyferry.contracts.rule_management import (
    MAX_DRY_RUN,
    CompareRules,
    DiscardRuleDraft,
    DryRunReport,
    DryRunRules,
    GetRules,
    ListRuleVersions,
    PublishedRules,
    PublishRules,
    RollBackRules,
    RuleDifference,
    SaveRuleDraft,
)
from keyferry.contracts.rules import RuleFinding, RuleSet

_SECONDS = 60.0
"""A dry run plans a thousand past requests twice, in short slices."""
_file = click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
_file_or_draft = click.argument(
    "file", required=False, type=click.Path(dir_okay=False, allow_dash=True, path_type=Path)
)


@click.group()
def command() -> None:
    """Show, try, publish and restore routing rules, and explain a request's route.

    The rules of the tenant `platform` are for all tenants.
    """


command.add_command(explain.command, "explain")


@command.command()
@_file
@json_option
def check(file: Path, as_json: bool) -> int:
    """Check the rules in FILE by themselves, without an installation. The exit status is 1 if something is wrong."""
    rules = read_rule_file(file)
    findings = check_rule_set(rules)
    if as_json:
        click.echo(_to_json(findings))
    elif findings:
        click.echo("\n".join(format_findings(findings)))
    else:
        more = "`keyferry route diff FILE --tenant TENANT` also checks their models"
        click.echo(f"{_count(rules)}: nothing is wrong with them in themselves; {more}")
    return int(is_fault(findings))


@command.command()
@click.option("--version", type=click.IntRange(1), help="The version (default: the published one).")
@click.option("--draft", is_flag=True, help="The draft instead of a version.")
@tenant_option
@json_option
def show(version: int | None, draft: bool, tenant: str, as_json: bool) -> None:
    """Show rules as a YAML file, which `keyferry route publish` takes."""
    if draft and version is not None:
        raise Problem("a draft has no version", "Give --version or --draft")
    found = run(lambda me: me.ask(RULES_GET, GetRules(tenant=tenant, version=version)), tenant=tenant)
    if draft and found.draft is None:
        raise Problem(
            f"{tenant} has no draft of routing rules", f"`keyferry route draft FILE --tenant {tenant}` saves one"
        )
    if as_json:
        shown = found.draft if draft else found
        click.echo("" if shown is None else shown.model_dump_json(indent=2, exclude_none=True))
        return
    if found.not_applied is not None:
        click.echo(f"# {found.not_applied}")
    click.echo("\n".join(format_version_file(tenant, found.draft if draft else found.version)))


@command.command()
@click.option("--before", type=click.IntRange(1), metavar="NUMBER", help="Only versions with a lower number.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@tenant_option
@json_option
def versions(before: int | None, limit: int, tenant: str, as_json: bool) -> None:
    """List the published versions, newest first."""
    question = ListRuleVersions(tenant=tenant, before=before, limit=limit)
    found = run(lambda me: me.ask(RULES_VERSIONS, question), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else format_versions(tenant, found))


@command.command()
@_file
@click.option("--revision", type=click.IntRange(0), default=0, show_default=True, help="The draft that this replaces.")
@tenant_option
@json_option
def draft(file: Path, revision: int, tenant: str, as_json: bool) -> None:
    """Save the rules in FILE as the draft, which may still have faults."""
    question = SaveRuleDraft(tenant=tenant, rule_set=read_rule_file(file), revision=revision)
    saved = run(lambda me: me.ask(RULES_SAVE_DRAFT, question, timeout_seconds=_SECONDS), tenant=tenant)
    if as_json:
        click.echo(saved.model_dump_json(indent=2, exclude_none=True))
        return
    click.echo(
        "\n".join([*format_findings(saved.findings), f"saved the draft of {tenant}, revision {saved.draft.revision}"])
    )


@command.command()
@click.option("--revision", type=click.IntRange(1), help="Only if the draft has this revision.")
@tenant_option
def discard(revision: int | None, tenant: str) -> None:
    """Remove the draft."""
    run(lambda me: me.ask(RULES_DISCARD_DRAFT, DiscardRuleDraft(tenant=tenant, revision=revision)), tenant=tenant)
    click.echo(f"removed the draft of {tenant}")


@command.command()
@_file_or_draft
@click.option("--version", type=click.IntRange(1), help="Compare with this version (default: the published one).")
@tenant_option
@json_option
def diff(file: Path | None, version: int | None, tenant: str, as_json: bool) -> int:
    """Compare the rules in FILE, or the draft, with a version. The exit status is 1 if they have faults."""
    rules = None if file is None else read_rule_file(file)
    found = run(lambda me: _compare(me, tenant, rules, version), tenant=tenant)
    click.echo(found.model_dump_json(indent=2, exclude_none=True) if as_json else "\n".join(format_difference(found)))
    return int(is_fault(found.findings))


@command.command("dry-run")
@_file_or_draft
@click.option("--since", help="Only requests since then: 7d, 2026-01-31, 2026-01-31T12:00 (default: 7d).")
@click.option("--until", help="Only requests until then.")
@click.option(
    "--limit", default=500, show_default=True, type=click.IntRange(1, MAX_DRY_RUN), help="The newest requests."
)
@tenant_option
@json_option
def dry_run(file: Path | None, since: str | None, until: str | None, limit: int, tenant: str, as_json: bool) -> int:
    """Plan past requests again with the rules in FILE, or with the draft. The exit status is 1 if these have faults."""
    now = datetime.now(UTC)
    question = DryRunRules(
        tenant=tenant,
        rule_set=None if file is None else read_rule_file(file),
        since=None if since is None else parse_past(since, now),
        until=None if until is None else parse_past(until, now),
        limit=limit,
    )
    found = run(lambda me: me.ask(RULES_DRY_RUN, question, timeout_seconds=_SECONDS), tenant=tenant)
    click.echo(found.model_dump_json(indent=2, exclude_none=True) if as_json else "\n".join(format_report(found)))
    return int(is_fault(found.findings))


@command.command()
@_file_or_draft
@click.option("--dry-run", is_flag=True, help="Publish nothing: show the difference, and plan past requests again.")
@click.option("--note", default="", help="Why, for the list of versions and the audit.")
@click.option("--revision", type=click.IntRange(1), help="Publish the draft only if it has this revision.")
@click.option(
    "--expected-version",
    type=click.IntRange(0),
    help="Publish only if this is the published version (0: there is none).",
)
@tenant_option
@json_option
def publish(
    file: Path | None,
    dry_run: bool,
    note: str,
    revision: int | None,
    expected_version: int | None,
    tenant: str,
    as_json: bool,
) -> int:
    """Publish the rules in FILE, or the draft. Rules with faults are not published, and the exit status is 1."""
    if file is not None and revision is not None:
        raise Problem("a file has no revision", "Leave out FILE, or leave out --revision")
    rules = None if file is None else read_rule_file(file)
    if dry_run:
        return run(lambda me: _try(me, tenant, rules, as_json=as_json), tenant=tenant)
    question = PublishRules(
        tenant=tenant, note=note, rule_set=rules, revision=revision, expected_version=expected_version
    )

    async def work(me: Connection) -> PublishedRules:
        _require_no_faults((await _compare(me, tenant, rules, None)).findings, tenant)
        return await me.ask(RULES_PUBLISH, question, timeout_seconds=_SECONDS)

    _show_published(run(work, tenant=tenant), as_json=as_json)
    return 0


@command.command()
@click.argument("version", type=click.IntRange(1))
@click.option("--note", default="", help="Why, for the list of versions and the audit.")
@click.option("--expected-version", type=click.IntRange(0), help="Roll back only if this is the published version.")
@tenant_option
@json_option
def rollback(version: int, note: str, expected_version: int | None, tenant: str, as_json: bool) -> None:
    """Publish VERSION again, as a new version."""
    question = RollBackRules(tenant=tenant, version=version, note=note, expected_version=expected_version)
    published = run(lambda me: me.ask(RULES_ROLL_BACK, question, timeout_seconds=_SECONDS), tenant=tenant)
    _show_published(published, as_json=as_json)


async def _compare(me: Connection, tenant: str, rules: RuleSet | None, version: int | None) -> RuleDifference:
    question = CompareRules(tenant=tenant, rule_set=rules, version=version)
    return await me.ask(RULES_COMPARE, question, timeout_seconds=_SECONDS)


async def _try(me: Connection, tenant: str, rules: RuleSet | None, *, as_json: bool) -> int:
    """Show the difference and the report of a dry run; return the exit status."""
    difference = await _compare(me, tenant, rules, None)
    report: DryRunReport | None = None
    if not is_fault(difference.findings):
        question = DryRunRules(tenant=tenant, rule_set=rules, limit=MAX_DRY_RUN)
        report = await me.ask(RULES_DRY_RUN, question, timeout_seconds=_SECONDS)
    if as_json:
        click.echo((report or difference).model_dump_json(indent=2, exclude_none=True))
    else:
        shown = difference if report is None else difference.model_copy(update={"findings": []})
        lines = [*format_difference(shown), *(["", *format_report(report)] if report is not None else [])]
        click.echo("\n".join([*lines, "nothing was published"]))
    return int(is_fault((report or difference).findings))


def _require_no_faults(findings: list[RuleFinding], tenant: str) -> None:
    if is_fault(findings):
        click.echo("\n".join(format_findings(findings)), err=True)
        faults = sum(finding.fault for finding in findings)
        raise Problem(
            f"the rules have {faults} fault{'' if faults == 1 else 's'} and were not published",
            f"Correct them; `keyferry route diff FILE --tenant {tenant}` checks them again",
        )


def _show_published(published: PublishedRules, *, as_json: bool) -> None:
    version = published.version
    if as_json:
        click.echo(published.model_dump_json(indent=2, exclude_none=True))
        return
    for line in format_findings(published.findings):
        click.echo(line, err=True)
    if published.changed:
        click.echo(f"published version {version.version} of {version.tenant}: {_count(version.rule_set)}")
    else:
        click.echo(f"version {version.version} of {version.tenant} has the same rules and stays published")


def _count(rules: RuleSet) -> str:
    return f"{len(rules.rules)} rule{'' if len(rules.rules) == 1 else 's'}"


def _to_json(findings: list[RuleFinding]) -> str:
    return f"[{', '.join(finding.model_dump_json(exclude_none=True) for finding in findings)}]"
