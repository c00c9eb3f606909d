"""Options for limits, and their values for people."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from keyferry.contracts.limits import MAX_LIMIT, UNLIMITED, LimitChange, LimitChanges, Limits
from keyferry.contracts.text import parse_digits

F = TypeVar("F", bound=Callable[..., Any])
_MAX_DIGITS = len(str(MAX_LIMIT))


class LimitType(click.ParamType[LimitChange]):
    """A limit of the command line: a number, `unlimited` or `default`."""

    name = "LIMIT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> LimitChange:
        """Return the limit. Fails for anything else."""
        if value == UNLIMITED:
            return UNLIMITED
        if value == "default":
            return "default"
        number = parse_digits(str(value).replace("_", ""), _MAX_DIGITS)
        if number is None or not 1 <= number <= MAX_LIMIT:
            self.fail(f"{value!r} is no limit: write a number from 1 to {MAX_LIMIT}, unlimited or default", param, ctx)
        return number


_OPTIONS = (
    click.option("--rpm", type=LimitType(), help="Requests per minute: a number, unlimited, or default."),
    click.option("--tpm", type=LimitType(), help="Tokens per minute: a number, unlimited, or default."),
    click.option("--concurrency", type=LimitType(), help="Requests at the same time: a number, unlimited, or default."),
)


def limit_options(command: F) -> F:
    """Add --rpm, --tpm and --concurrency to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def limit_changes(
    rpm: LimitChange | None, tpm: LimitChange | None, concurrency: LimitChange | None
) -> LimitChanges | None:
    """Return the changes that the options ask for; None if none was given."""
    changes = LimitChanges(rpm=rpm, tpm=tpm, concurrency=concurrency)
    return changes if changes.model_dump(exclude_none=True) else None


def describe_limits(limits: Limits | None) -> str:
    """Return limits for people, such as `rpm 100, tpm unlimited`; `default` if none is set."""
    if limits is None:
        return "default"
    return ", ".join(f"{name} {value}" for name, value in limits.model_dump(exclude_none=True).items()) or "default"
