"""Command line: python -m deploy.embedded up | down | status | console | restart SERVICE."""

import argparse
import os
import sys
from collections.abc import Sequence

try:
    from keyferry.runtime.process.quick_start import start_quickly

    if __name__ == "__main__":
        start_quickly()
    from deploy.embedded import commands
    from deploy.embedded.errors import DEBUG_VARIABLE, describe
    from deploy.embedded.terminal import Terminal
except ModuleNotFoundError as missing:
    sys.exit(
        f"there is no Python package {missing.name!r} here: run this with .venv/bin/python, which `make up` creates"
    )

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status: 0 done, 1 failed, 2 invalid command line, 3 `status` of what is not running."""
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description="Run Keyferry on this machine.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    subparsers.add_parser("up", help="start everything and stay in the foreground")
    subparsers.add_parser("down", help="stop everything after requests in progress have finished")
    subparsers.add_parser("status", help="show the running processes")
    subparsers.add_parser("console", help="print a new link that signs a browser in at the console")
    restarting = subparsers.add_parser("restart", help="restart one service without an interruption")
    restarting.add_argument("service", help="a service, or one slot such as provider-worker-2")
    options = parser.parse_args(arguments)
    terminal = Terminal()
    try:
        match options.command:
            case "up":
                return commands.up(os.environ, terminal)
            case "down":
                return commands.down(os.environ, terminal)
            case "status":
                return commands.status(os.environ, terminal)
            case "console":
                return commands.console(os.environ, terminal)
            case _:
                return commands.restart(os.environ, terminal, options.service)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # the outermost edge: people get a message and a remedy, never a traceback
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(describe(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
