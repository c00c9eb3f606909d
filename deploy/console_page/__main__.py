"""Command line: python -m deploy.console_page build | check | format."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from deploy.console_page.build import build, run_script
from deploy.console_page.errors import PageProblem
from deploy.console_page.sources import PageSources

_SCRIPT_SECONDS = 600.0
_BACKGROUND_NICENESS = 5
"""A third of the share of what else wants a processor, such as the system that starts; all of it when nothing does."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after printing why it failed."""
    parser = argparse.ArgumentParser(prog="python -m deploy.console_page", description="Build the console's page.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    building = subparsers.add_parser("build", help="build the page unless it is of the present sources")
    building.add_argument("--background", action="store_true", help="leave the processors to other programs")
    subparsers.add_parser("check", help="check types, style and format, and run the page's unit tests")
    subparsers.add_parser("format", help="format the sources")
    for each in subparsers.choices.values():
        each.add_argument("--web", type=Path, default=PageSources().web, help="the directory of the sources")
        each.add_argument("--openapi", type=Path, default=PageSources().openapi, help="the description of the API")
    options = parser.parse_args(arguments)
    sources = PageSources(options.web, options.openapi)
    if options.command == "build" and options.background:
        os.nice(_BACKGROUND_NICENESS)
    signal.signal(signal.SIGTERM, _stop)
    try:
        if options.command != "build":
            run_script(sources, options.command, print, timeout_seconds=_SCRIPT_SECONDS)
        elif build(sources, _say):
            _say("the console's page is ready")
        else:
            _say("the console's page is built of the present sources")
    except PageProblem as problem:
        print(f"the console's page: {problem}", file=sys.stderr)
        return 1
    return 0


def _stop(number: int, _: object) -> NoReturn:
    """End this process like an exception, so that what it has started ends with it."""
    sys.exit(128 + number)


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
