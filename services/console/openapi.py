"""Renders docs/architecture/openapi.json from the routes, and docs/architecture/access.md from the access tables.

python -m services.console.openapi           write them
python -m services.console.openapi --check   exit 1 if one is not up to date
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from keyferry.contracts.rendered_files import find_drift, write
from services.console import access_table
from services.console.handlers import build_document

DOCUMENT = Path("docs/architecture/openapi.json")
ACCESS_TABLE = Path("docs/architecture/access.md")
REPOSITORY = Path(__file__).resolve().parents[2]


def render() -> dict[Path, str]:
    """Return the text of both files by their paths in the repository."""
    document = json.dumps(build_document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {DOCUMENT: document, ACCESS_TABLE: access_table.render()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.console.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is not up to date")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the repository (default: the one of this module)"
    )
    given = parser.parse_args(arguments)
    if not given.check:
        for name in write(given.root, render()):
            sys.stdout.write(f"wrote {name}\n")
        return 0
    outdated = find_drift(given.root, render())
    for name in outdated:
        sys.stderr.write(f"{name} is not up to date: run `make schemas`\n")
    return 1 if outdated else 0


if __name__ == "__main__":
    sys.exit(main())
