"""The `keyferry` command: loads the module of a subcommand only when it is used, and never shows a traceback."""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import click

from keyferry.runtime.process.quick_start import start_quickly

_COMMANDS = {
    "login": "Sign in, so that other commands work for you over HTTP",
    "logout": "Sign out, and forget the session",
    "whoami": "Show who is signed in, and what they may do now",
    "chat": "Send one chat request over the bus and show the answer",
    "explain": "Show the route of a request, the reasons, and the cost",
    "trace": "Show where the time of a request went, span by span",
    "route": "Show, try, publish and restore routing rules; explain a request's route",
    "requests": "Find, follow, show and export requests",
    "usage": "Show what a tenant used and what it cost",
    "ops": "Show how all tenants use the gateway, for operators",
    "recommend": "Show what would have made a tenant's traffic cheaper",
    "estimate": "Show what a request would cost before it is sent",
    "credits": "Show, grant and correct a tenant's credits",
    "billing": "Show payments, check them against Stripe, and replay its events",
    "invoices": "Show and download a tenant's monthly statements",
    "reconcile": "Compare what was recorded with providers' own figures",
    "allowance": "Show a tenant's free requests of this month",
    "budgets": "Show, set and remove limits of spending",
    "alerts": "Show and acknowledge alerts; show, test, add and change their rules",
    "channels": "Choose how people are notified: e-mail, Slack, webhook",
    "feedback": "Rate answers, and show what ratings say about models",
    "tokens": "Create, limit, list and revoke client tokens",
    "services": "Create, list and revoke internal services, which call over the bus",
    "members": "Invite people to a tenant, and change or remove its members",
    "teams": "Create, show, change and delete a tenant's teams",
    "tenants": "Create, change and list tenants",
    "tiers": "Show what each tier includes",
    "keys": "Add, test, rotate and remove provider keys",
    "reports": "Schedule reports of usage by e-mail",
    "webhooks": "Manage endpoints for events, their secrets and their log",
    "integrations": "Add, rotate and remove what Keyferry signs in with at Stripe, Lago, mail servers and chats",
    "vault": "Rotate, verify and destroy the vault's keys",
    "audit": "Show who did what, and verify the audit log",
    "dead-letters": "Show records that no table could take, replay them after a fix, or remove them",
    "ledger": "Show how attempts are stored and what they earn; correct wrong prices",
    "endpoints": "Add, list and remove a tenant's own endpoints",
    "preferences": "Show, set and unset preferences by scope",
    "models": "List the models that a tenant can call now; change the catalog",
    "providers": "Add, list and retire providers",
    "prices": "Set, list and remove list prices",
    "health": "Show the health of providers and endpoints, and outages; force circuits open or closed",
    "status": "Show every process that answers",
    "slo": "Show how well the objectives of the service were met, for operators",
    "doctor": "Check the installation and report what to do",
    "restart": "Replace the processes of a service without losing a request",
    "backup": "Make encrypted backups of the installation, and verify them",
    "restore": "Restore a backup into an empty home directory",
}
"""Each is the attribute `command` of the module with its name, with underscores for hyphens."""
_FORMER_NAMES = {"deadletters": "dead-letters"}
"""Names that scripts may still use; the help shows the present ones."""
_INTERRUPTED = 130


class LazyGroup(click.Group):
    """Loads a command's module when the command is used, so that `keyferry --help` does not import the bus library."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command from its module."""
        name = _FORMER_NAMES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"keyferry.cli.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="KEYFERRY_HOME names the"
    " installation's directory (default: the nearest .keyferry upwards). KEYFERRY_NATS_URL and KEYFERRY_NATS_NKEY_FILE name"
    " a bus elsewhere. KEYFERRY_URL names a management API where you are signed in, and commands then act as you."
    " KEYFERRY_DEBUG=1 shows tracebacks.",
)
@click.version_option(package_name="keyferry")
def cli() -> None:
    """Operate a Keyferry installation over its bus."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status: 0 done, 1 failed, 2 invalid command line, 130 interrupted."""
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
    except Exception as error:  # the outermost edge: people get a message and a remedy, never a traceback
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
    """Redirect the interpreter's last flush to nowhere, because the reader of our output is gone."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Run the command line of this process."""
    start_quickly()
    from keyferry.cli.terminal import protect_terminal

    protect_terminal()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
