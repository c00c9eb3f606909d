"""`keyferry budgets`: limits of a tenant's spending, and how much of each is spent."""

from decimal import Decimal, InvalidOperation

import click

from keyferry.cli.connection import Connection, run
from keyferry.cli.problem import Problem
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.budget import (
    Budget,
    BudgetScope,
    BudgetState,
    BudgetWindow,
    CalendarPeriod,
    ListBudgets,
    RemoveBudget,
    SaveBudget,
    limit_in_micro_usd,
)
from keyferry.contracts.credit import MICRO
from keyferry.contracts.ledger_management import BUDGET_LIST, BUDGET_REMOVE, BUDGET_SAVE
from keyferry.contracts.money import plain, usd
from keyferry.contracts.text import parse_digits

_HOURS = {"h": 1, "d": 24}


@click.group()
def command() -> None:
    """Show, set and remove budgets: how much a tenant, team, member, client token, key or model may spend.

    Each budget counts alone, and one scope may have several windows. Hard budgets refuse requests that do not fit.
    """


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List a tenant's budgets, and what is spent of each in its current window."""
    found = run(lambda me: me.ask(BUDGET_LIST, ListBudgets(tenant=tenant)), tenant=tenant)
    if as_json:
        click.echo(found.model_dump_json(indent=2))
        return
    heads = ("BUDGET", "SCOPE", "WINDOW", "LIMIT", "SPENT", "LEFT", "PERCENT", "KIND")
    rows = [
        (
            state.budget.budget_id,
            format_scope(state.budget),
            format_window(state.budget.window),
            format_usd(state.budget.limit_micro_usd),
            format_usd(state.spent_micro_usd),
            format_usd(state.left_micro_usd),
            f"{state.percent} %",
            format_kind(state.budget),
        )
        for state in found.budgets
    ]
    empty = f"{tenant} has no budgets: `keyferry budgets set --tenant {tenant} --limit 100 --window month` adds one"
    click.echo(format_table(heads, rows, empty=empty))


@command.command("show")
@click.argument("budget_id")
@tenant_option
@json_option
def show(budget_id: str, tenant: str, as_json: bool) -> None:
    """Show the budget BUDGET_ID: what is spent, held and left, and what will be spent at the end of its window."""
    query = ListBudgets(tenant=tenant, budget_id=budget_id)
    state = run(lambda me: me.ask(BUDGET_LIST, query), tenant=tenant).budgets[0]
    click.echo(state.model_dump_json(indent=2) if as_json else "\n".join(format_state(state)))


@command.command("set")
@click.option("--limit", required=True, metavar="DOLLARS", help="How much may be spent in each window.")
@click.option(
    "--window", required=True, metavar="WINDOW", help="day, week or month; or the last hours or days: 24h, 30d."
)
@click.option("--tz", "time_zone", default="UTC", show_default=True, help="Where days begin, such as Europe/Berlin.")
@click.option("--team", help="What this team spends.")
@click.option("--member", help="What this member spends.")
@click.option("--token", help="What is spent with this client token, by its id.")
@click.option("--key", help="What is spent with this provider key, by its id.")
@click.option("--model", help="What is spent on this model: gpt-4o, or openai/gpt-4o at one provider.")
@click.option("--hard/--soft", default=None, help="Whether requests that do not fit are refused (hard, the default).")
@click.option("--threshold", "thresholds", multiple=True, type=int, help="Percents at which the state says so.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether it may refuse requests.")
@click.option("--name", help="A name for people.")
@tenant_option
@json_option
def set_(
    limit: str,
    window: str,
    time_zone: str,
    team: str | None,
    member: str | None,
    token: str | None,
    key: str | None,
    model: str | None,
    hard: bool | None,
    thresholds: tuple[int, ...],
    enabled: bool | None,
    name: str | None,
    tenant: str,
    as_json: bool,
) -> None:
    """Add a budget, or change the one that has this scope and window. What is not given stays as it is."""
    values = {
        BudgetScope.TEAM: team,
        BudgetScope.MEMBER: member,
        BudgetScope.CLIENT_TOKEN: token,
        BudgetScope.KEY: key,
        BudgetScope.MODEL: model,
    }
    scope, value = parse_scope(values)
    given = {"hard": hard, "thresholds": list(thresholds) or None, "enabled": enabled, "name": name}
    terms: dict[str, object] = {
        "tenant": tenant,
        "scope": scope,
        "value": value,
        "window": parse_window(window, time_zone),
        "limit_micro_usd": parse_limit(limit),
        **{field: each for field, each in given.items() if each is not None},
    }
    state = run(lambda me: _save(me, SaveBudget.model_validate(terms), terms), tenant=tenant)
    click.echo(state.model_dump_json(indent=2) if as_json else "\n".join(format_state(state)))


@command.command("remove")
@click.argument("budget_id")
@tenant_option
@json_option
def remove(budget_id: str, tenant: str, as_json: bool) -> None:
    """Remove the budget BUDGET_ID: it refuses and counts nothing any more."""
    query = RemoveBudget(tenant=tenant, budget_id=budget_id)
    removed = run(lambda me: me.ask(BUDGET_REMOVE, query), tenant=tenant)
    click.echo(removed.model_dump_json(indent=2) if as_json else f"removed {removed.budget.budget_id}")


async def _save(me: Connection, command: SaveBudget, given: dict[str, object]) -> BudgetState:
    """Save a budget over the one that has its scope and window, if there is one."""
    present = await me.ask(BUDGET_LIST, ListBudgets(tenant=command.tenant))
    wanted = (command.scope, command.value, command.window)
    for state in present.budgets:
        budget = state.budget
        if (budget.scope, budget.value, budget.window) == wanted:
            terms = budget.model_dump(exclude={"budget_id", "revision", "created_at"}) | given
            changed = {"budget_id": budget.budget_id, "expected_revision": budget.revision}
            command = SaveBudget.model_validate(terms | changed)
    return await me.ask(BUDGET_SAVE, command)


def parse_scope(values: dict[BudgetScope, str | None]) -> tuple[BudgetScope, str | None]:
    """Return the one scope that has a value, else the tenant's. Raises Problem for several."""
    found = [(scope, value) for scope, value in values.items() if value is not None]
    if len(found) > 1:
        raise Problem("a budget has one scope", "Give one of --team, --member, --token, --key and --model, or none")
    return found[0] if found else (BudgetScope.TENANT, None)


def parse_window(text: str, time_zone: str) -> BudgetWindow:
    """Return the window that the options name. Raises Problem, and ValidationError for an unknown zone."""
    if text in {period.value for period in CalendarPeriod}:
        return BudgetWindow.model_validate({"calendar": text, "time_zone": time_zone})
    number = parse_digits(text[:-1], max_digits=5)
    if text[-1:] not in _HOURS or number is None:
        raise Problem("that is no window of a budget", "Give day, week or month; or the last hours or days: 24h, 30d")
    return BudgetWindow.model_validate({"rolling_hours": number * _HOURS[text[-1]], "time_zone": time_zone})


def parse_limit(text: str) -> int:
    """Return dollars as micro-dollars. Raises Problem."""
    try:
        return limit_in_micro_usd(usd(text.removeprefix("$")))
    except (ValueError, InvalidOperation):
        raise Problem(
            "that is no amount of dollars", "Give one such as 250 or 0.50, with at most six decimal places"
        ) from None


def format_state(state: BudgetState) -> list[str]:
    """Return a description of a budget and of its current window."""
    budget = state.budget
    until = f" until {state.resets_at:%Y-%m-%d %H:%M}Z" if state.resets_at else ""
    terms = f"{format_scope(budget)} per {format_window(budget.window)}, {format_kind(budget)}"
    lines = [
        f"{budget.budget_id}: {format_usd(budget.limit_micro_usd)} for {terms}",
        f"  window     since {state.window_start:%Y-%m-%d %H:%M}Z{until}",
        f"  spent      {format_usd(state.spent_micro_usd)} ({state.percent} %) by {state.attempts} attempts",
        f"  held       {format_usd(state.held_micro_usd)}",
        f"  left       {format_usd(state.left_micro_usd)}",
    ]
    if state.unpriced:
        lines.append(f"  unpriced   {state.unpriced} attempts, of which it is unknown what they spent")
    if state.thresholds_passed:
        lines.append("  passed     " + ", ".join(f"{percent} %" for percent in state.thresholds_passed))
    if (projected := state.projected) is not None:
        low, high = format_usd(projected.low_micro_usd), format_usd(projected.high_micro_usd)
        lines.append(
            f"  projected  {format_usd(projected.likely_micro_usd)} ({low} to {high}) at the end of the window"
        )
    return lines


def format_scope(budget: Budget) -> str:
    """Return what a budget counts."""
    return f"{budget.scope.replace('_', ' ')} {budget.value or budget.tenant}"


def format_window(window: BudgetWindow) -> str:
    """Return the window as options name it, with its time zone."""
    if window.calendar is not None:
        return f"{window.calendar} {window.time_zone}"
    hours = window.rolling_hours or 0
    return f"{hours // 24}d" if hours % 24 == 0 else f"{hours}h"


def format_kind(budget: Budget) -> str:
    """Return whether a budget refuses requests."""
    kind = "hard" if budget.hard else "soft"
    return kind if budget.enabled else f"{kind}, disabled"


def format_usd(micro_usd: int) -> str:
    """Return micro-dollars as dollars."""
    return f"${plain(Decimal(micro_usd) / MICRO)}"
