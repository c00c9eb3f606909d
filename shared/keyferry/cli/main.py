"""The `keyferry` command: finds the module of a noun only when it is asked for, and lets no traceback reach a person."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

_COMMANDS = {
    "chat": "Send one chat request over the bus and show the answer",
    "explain": "Say which way a request took, why, and what it cost",
    "usage": "Show what a tenant used and what it cost",
    "tokens": "Create, list and revoke client tokens",
    "tenants": "Create, change and list tenants",
    "keys": "Add, test, rotate and remove provider keys",
    "vault": "Rotate, verify and shred what the vault holds",
    "audit": "Show who did what, and verify that record",
    "endpoints": "Add, list and remove a tenant's own endpoints",
    "models": "List what a tenant can call now",
    "status": "Show every process that answers",
    "doctor": "Check everything and say what to do",
    "restart": "Replace the processes of a service without losing a request",
}
"""Each is the attribute `command` of the module of its name."""
_INTERRUPTED = 130


class LazyGroup(click.Group):
    """Loads a command's module when the command is called, so that `keyferry --help` does not wait for the bus library."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from its module."""
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"keyferry.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="KEYFERRY_HOME names the"
    " installation's directory (default: the nearest .keyferry upwards). KEYFERRY_NATS_URL and KEYFERRY_NATS_NKEY_FILE name"
    " a bus elsewhere. KEYFERRY_DEBUG=1 shows tracebacks.",
)
@click.version_option(package_name="keyferry")
def cli() -> None:
    """Operate a Keyferry installation over its bus."""


def run(arguments: Sequence[str]) -> int:
    """Carry out one command line; the exit status: 0 done, 1 something is wrong, 2 a wrong command line, 130 interrupted."""
    try:
        result = cli.main(list(arguments), prog_name="keyferry", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        return _INTERRUPTED
    except BrokenPipeError:
        _close_output()
        return 0
    except Exception as error:  # the outermost edge: a person gets a line and what to do, never a traceback
        if os.environ.get("KEYFERRY_DEBUG"):
            raise
        return _report(error)
    return result if isinstance(result, int) else 0


def _report(error: Exception) -> int:
    from keyferry.cli.problem import to_problem

    first, *rest = to_problem(error).lines()
    click.echo("\n".join([f"keyferry: {first}", *rest]), err=True)
    return 1


def _close_output() -> None:
    """Whoever read our output is gone: let the interpreter's last flush go nowhere."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
