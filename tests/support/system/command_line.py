"""The `keyferry` command without a process of its own: the same code over the same bus, for tests that run many commands."""

from collections.abc import Mapping
from dataclasses import dataclass

from click.testing import CliRunner

from keyferry.cli.main import run


@dataclass(frozen=True)
class CommandResult:
    """A command that has ended. `output` is both streams in the order in which they were written."""

    status: int
    out: str
    err: str
    output: str


def run_command(
    arguments: tuple[str, ...], environment: Mapping[str, str | None], stdin: str | None = None
) -> CommandResult:
    """Run one command line with this environment; not from several threads at once, as they share one.

    The environment is added to the process's own, and a variable that is None in it is taken away.
    """
    with CliRunner().isolation(input=stdin or "", env=dict(environment)) as (out, err, both):
        status = run(arguments)
        return CommandResult(status, out.getvalue().decode(), err.getvalue().decode(), both.getvalue().decode())
