"""Writes docs/architecture/openapi.json from the routes.

python -m services.console.openapi           write it
python -m services.console.openapi --check   exit 1 when it is not what the routes say
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from services.console.handlers import document

DOCUMENT = Path("docs/architecture/openapi.json")
REPOSITORY = Path(__file__).resolve().parents[2]


def text() -> str:
    """The document as it stands in its file."""
    return json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m services.console.openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file has drifted")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the repository (default: the one of this module)"
    )
    given = parser.parse_args(arguments)
    file: Path = given.root / DOCUMENT
    wanted = text()
    if file.is_file() and file.read_text(encoding="utf-8") == wanted:
        return 0
    if given.check:
        sys.stderr.write(f"{DOCUMENT} is not what the routes say: run `make schemas`\n")
        return 1
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(wanted, encoding="utf-8")
    sys.stdout.write(f"wrote {DOCUMENT}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
