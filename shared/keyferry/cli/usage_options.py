"""Options of `keyferry usage`, and the queries that they stand for."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from keyferry.cli.problem import Problem
from keyferry.contracts.analytics import (
    CLOSED_DIMENSIONS,
    PERIOD_FORM,
    AnalyticsQuery,
    BucketLength,
    Dimension,
    Measure,
)
from keyferry.contracts.envelope import Command
from keyferry.contracts.invalid_values import format_path, invalid_values
from keyferry.contracts.text import parse_digits

Q = TypeVar("Q", bound=AnalyticsQuery)
M = TypeVar("M", bound=Command)
F = TypeVar("F", bound=Callable[..., Any])

_NAMES = {
    Dimension.POWER_LEVEL: "level",
    Dimension.KEY_SOURCE: "key-source",
    Dimension.CLIENT_TOKEN: "token",
    Dimension.ERROR_CLASS: "error",
}
"""What dimensions are called on the command line, where that is not their own name."""
_TAG = "tag:"
_FILTERS = tuple(each for each in Dimension if each not in (Dimension.TENANT, Dimension.TAG))
DIMENSIONS = {_NAMES.get(each, each.value): each for each in _FILTERS}
"""By name on the command line."""
_OWN_NAMES = {each.value.replace("_", "-"): each for each in _FILTERS}
BUCKETS = {each.value: each for each in BucketLength if each is not BucketLength.QUARTER_HOUR}
_PERIODS = ("24h", "7d", "30d", "90d", "all")
_SPANS = {"h": "hours", "d": "days", "w": "weeks"}
SINCE_HELP = (
    "24h, 7d, 30d, 90d (days of the zone, with today), all, a month such as 2026-11, or a date and time, in the zone"
    " unless it has an offset."
)


@dataclass(frozen=True)
class Splits:
    """What `--by` names: dimensions, the name of a tag if one of them is `tag`, and the length of buckets if there is one."""

    dimensions: tuple[Dimension, ...]
    tag: str | None = None
    bucket: BucketLength | None = None


def filter_options(command: F) -> F:
    """Add an option for each filter to a command."""
    for name, dimension in reversed(DIMENSIONS.items()):
        values = CLOSED_DIMENSIONS.get(dimension)
        kind = click.Choice(["", *(each.value for each in values)]) if values is not None else click.STRING
        metavar = None if values is None else name.upper()
        option = click.option(
            f"--{name}", dimension.value, multiple=True, type=kind, metavar=metavar, help=_help_of(name, dimension)
        )
        command = option(command)
    return command


def span_options(default: str) -> Callable[[F], F]:
    """Return what adds `--since`, `--until`, `--tz`, `--tag` and the filters to a command."""

    def add(command: F) -> F:
        options = (
            click.option("--since", help=f"Start: {SINCE_HELP} Default: {default}."),
            click.option("--until", help="End (exclusive): a date and time, or a span back from now."),
            tz_option,
            click.option(
                "--tag", multiple=True, metavar="NAME=VALUE", help="Only with this tag; `NAME=` is without it."
            ),
        )
        command = filter_options(command)
        for option in reversed(options):
            command = option(command)
        return command

    return add


tz_option = click.option(
    "--tz", default="UTC", show_default=True, metavar="ZONE", help="The zone of days and months: Europe/Berlin."
)
csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV for spreadsheets, with exact amounts.")
sort_option = click.option(
    "--sort",
    type=click.Choice([each.value for each in Measure]),
    help="The measure that is greatest first (default: cost).",
)


def parse_splits(given: Iterable[str], *, of_all_tenants: bool = False) -> Splits:
    """Return what the values of `--by` name. Raises Problem."""
    named = DIMENSIONS | ({Dimension.TENANT.value: Dimension.TENANT} if of_all_tenants else {})
    dimensions: list[Dimension] = []
    tag: str | None = None
    bucket: BucketLength | None = None
    for each in (part for value in given for part in value.split(",")):
        name = each.replace("_", "-") if not each.startswith(_TAG) else each
        if name in BUCKETS and bucket is None:
            bucket = BUCKETS[name]
        elif each.startswith(_TAG) and tag is None and len(each) > len(_TAG):
            tag = each.removeprefix(_TAG)
            dimensions.append(Dimension.TAG)
        elif (dimension := named.get(name) or _OWN_NAMES.get(name)) is not None and dimension not in dimensions:
            dimensions.append(dimension)
        else:
            known = ", ".join((*named, f"{_TAG}NAME", *BUCKETS))
            raise Problem(f"usage cannot be split by {each!r} here", f"Each once, and one length of time, of: {known}")
    most = 3 if bucket is None else 1
    if len(dimensions) > most:
        over = "" if bucket is None else f" over {bucket.value}s"
        raise Problem(f"usage{over} can be split by at most {most}", "Leave some out of --by")
    return Splits(tuple(dimensions), tag, bucket)


def build(
    kind: type[Q],
    given: dict[str, Any],
    now: datetime,
    *,
    default: str,
    **more: object,
) -> Q:
    """Return a query of a kind for the options of a command. Raises Problem."""
    values: dict[str, Any] = {"tenant": given["tenant"], "tz": given["tz"], "filters": read_filters(given)}
    values |= {"tags": parse_tags(given["tag"])} | _span(given["since"] or default, given["until"], now) | more
    return parse_query(kind, values)


def read_filters(given: dict[str, Any]) -> dict[Dimension, list[str]]:
    """Return the values by dimension that the options of a command name."""
    return {each: list(given[each.value]) for each in _FILTERS if given.get(each.value)}


def parse_query(kind: type[M], values: dict[str, Any]) -> M:
    """Return a query. Raises Problem, which names what is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = next(iter(invalid_values(error.errors())))
        where = format_path(first.path)
        raise Problem(f"{where}: {first.reason}" if where else first.reason, "See `keyferry usage --help`") from None


def parse_tags(given: Sequence[str]) -> dict[str, list[str]]:
    """Return the values by name of a tag. Raises Problem."""
    found: dict[str, list[str]] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise Problem(f"{each!r} is not a tag", "Write --tag NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found


def is_month(text: str | None) -> bool:
    """Return whether a text is a month, such as 2026-11."""
    return text is not None and len(text) == 7 and text[4] == "-" and _first_day(text) is not None


def _span(since: str, until: str | None, now: datetime) -> dict[str, Any]:
    """Return the span as a query has it: a period, or its ends."""
    if until is None and (since in _PERIODS or is_month(since)):
        return {"period": since}
    start = None if since == "all" else _parse_moment(since, now)
    return {"since": start, "until": None if until is None else _parse_moment(until, now)}


def _parse_moment(text: str, now: datetime) -> datetime:
    """Return a point in time; without an offset it is of the query's zone. Raises Problem."""
    number, unit = parse_digits(text[:-1], 6), _SPANS.get(text[-1:])
    try:
        if number is not None and unit is not None:
            return now - timedelta(**{unit: number})
        if is_month(text):
            return datetime.fromisoformat(f"{text}-01")
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        remedy = f"Write {PERIOD_FORM}, 2026-01-31, 2026-01-31T12:00, or a span back from now: 12h, 3d, 2w"
        raise Problem(f"{text!r} is not a time", remedy) from None


def _first_day(month: str) -> date | None:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        return None


def _help_of(name: str, dimension: Dimension) -> str:
    if dimension in CLOSED_DIMENSIONS and dimension is not Dimension.ERROR_CLASS:
        known = ", ".join(each.value for each in CLOSED_DIMENSIONS[dimension])
        return f"Only of this {name}: {known}."
    return {
        Dimension.KEY: "Only on this provider key, by its id.",
        Dimension.CLIENT_TOKEN: "Only of this client token, by its id.",
        Dimension.ENDPOINT: "Only at this server of the tenant's own.",
        Dimension.ERROR_CLASS: "Only with this class of error.",
    }.get(dimension, f"Only of this {name}; '' for none.")
