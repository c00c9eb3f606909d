"""Renders docs/architecture/openapi.json from the routes, and docs/architecture/access.md from the access tables.

python -m services.console.openapi           write them
python -m services.console.openapi --check   exit 1 if one is not up to date
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from services.console import access_table
from services.console.handlers import build_document

DOCUMENT = Path("docs/architecture/openapi.json")
ACCESS_TABLE = Path("docs/architecture/access.md")
REPOSITORY = Path(__file__).resolve().parents[2]


def render() -> str:
    """Return the OpenAPI document."""
    return json.dumps(build_document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.console.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the file is not up to date")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the repository (default: the one of this module)"
    )
    given = parser.parse_args(arguments)
    outdated = 0
    for name, content in ((DOCUMENT, render()), (ACCESS_TABLE, access_table.render())):
        file: Path = given.root / name
        if file.is_file() and file.read_text(encoding="utf-8") == content:
            continue
        if given.check:
            sys.stderr.write(f"{name} is not up to date: run `make schemas`\n")
            outdated = 1
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        sys.stdout.write(f"wrote {name}\n")
    return outdated


if __name__ == "__main__":
    sys.exit(main())
