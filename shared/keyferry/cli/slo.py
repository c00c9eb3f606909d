"""`keyferry slo`: how well the objectives of the service were met, and how fast error budgets are spent."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, json_option
from keyferry.contracts.service_levels import (
    BURN_RULES,
    MAX_PERIOD_DAYS,
    PERIOD_DAYS,
    SERVICE_LEVEL_GET,
    GetServiceLevels,
    ServiceLevel,
    ServiceLevels,
    Severity,
    WindowBurn,
)

_ANSWER_SECONDS = 30.0
_SHOWN_MINUTES = tuple(int(rule.long.total_seconds()) // 60 for rule in BURN_RULES)
_FAILED = 1
_NOT_MET = {None: "no events", True: "met", False: "NOT MET"}


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, MAX_PERIOD_DAYS),
    default=PERIOD_DAYS,
    show_default=True,
    help="Length of the period.",
)
@click.option("--check", is_flag=True, help="Exit with status 1 if an objective is not met, or an alert is raised.")
@json_option
def command(days: int, check: bool, as_json: bool) -> int:
    """Show how well the objectives of the service were met."""
    found = run(lambda me: me.ask(SERVICE_LEVEL_GET, GetServiceLevels(days=days), timeout_seconds=_ANSWER_SECONDS))
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_levels(found)))
    return _FAILED if check and any(level.met is False or level.alert is not None for level in found.levels) else 0


def format_levels(found: ServiceLevels) -> list[str]:
    """Return the objectives as a table, and what has to be done about them as sentences."""
    heads = ("OBJECTIVE", "TARGET", "ATTAINED", "", "EVENTS", "BAD", "BUDGET LEFT", *map(_burn_head, _SHOWN_MINUTES))
    lines = [
        f"{found.days} days until {found.as_of:%Y-%m-%d %H:%M} (UTC)" + _measured_for(found),
        "",
        format_table(heads, [_row(level) for level in found.levels], empty="nothing is measured"),
        "",
        *(f"{level.name}: {level.good_means}{_threshold(level)}" for level in found.levels),
    ]
    for level in found.levels:
        if level.alert is not None:
            lines += ["", _describe_alert(level, level.alert)]
    return lines


def _row(level: ServiceLevel) -> tuple[str, ...]:
    burns = {window.minutes: window for window in level.windows}
    return (
        level.name,
        _percent(level.target_permille * 1000),
        "-" if level.attained_ppm is None else _percent(level.attained_ppm),
        _NOT_MET[level.met],
        f"{level.good + level.bad:,}",
        f"{level.bad:,}",
        "-" if level.budget_left_permille is None else f"{level.budget_left_permille / 10:.1f} %",
        *(_burn(burns.get(minutes)) for minutes in _SHOWN_MINUTES),
    )


def _burn(window: WindowBurn | None) -> str:
    if window is None or window.good + window.bad == 0:
        return "-"
    return f"{window.burn_permille / 1000:.1f}"


def _burn_head(minutes: int) -> str:
    return f"BURN {_span(minutes)}"


def _span(minutes: int) -> str:
    if minutes % 1440 == 0:
        return f"{minutes // 1440}D"
    return f"{minutes // 60}H" if minutes % 60 == 0 else f"{minutes}MIN"


def _percent(ppm: int) -> str:
    """Return a share with as many digits as it needs, at least one: rounding would make 99.96 % of 99.955 %."""
    text = f"{ppm // 10_000}.{ppm % 10_000:04d}".rstrip("0")
    return f"{text}0 %" if text.endswith(".") else f"{text} %"


def _threshold(level: ServiceLevel) -> str:
    return f" (within {level.threshold_ms} ms)" if level.threshold_ms is not None else ""


def _measured_for(found: ServiceLevels) -> str:
    if found.measured_since is None:
        return ", in which nothing was measured"
    return f", measured since {found.measured_since:%Y-%m-%d %H:%M}"


def _describe_alert(level: ServiceLevel, severity: Severity) -> str:
    when = "now" if severity is Severity.PAGE else "within working days"
    return f"{level.name}: its error budget is spent too fast. Act {when}: docs/runbooks/error-budget-{level.name}.md"
