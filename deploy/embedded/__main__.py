"""python -m deploy.embedded up | down | status | restart SERVICE"""

import argparse
import os
import sys
from collections.abc import Sequence

from deploy.embedded import up
from deploy.embedded.failure import LaunchFailed
from deploy.embedded.screen import Screen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.embedded", description="Run Keyferry on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start everything and stay in the foreground")
    commands.add_parser("down", help="stop what runs, letting work under way finish")
    commands.add_parser("status", help="show what runs")
    restarting = commands.add_parser("restart", help="restart one service without an interruption")
    restarting.add_argument("service", help="its name, or the name of one slot such as provider-worker-2")
    options = parser.parse_args(arguments)
    screen = Screen()
    try:
        match options.command:
            case "up":
                return up.up(os.environ, screen)
            case "down":
                return up.down(os.environ, screen)
            case "status":
                return up.status(os.environ, screen)
            case _:
                return up.restart(os.environ, screen, options.service)
    except LaunchFailed as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
