"""Write the files derived from the topology: message schemas, the AsyncAPI document and the tables of the architecture pages.

python -m keyferry.contracts.render           write them
python -m keyferry.contracts.render --check   exit 1 and name each file that differs
"""

import argparse
import json
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from pydantic import BaseModel

from keyferry.contracts import asyncapi, rendered_files, tables
from keyferry.contracts.topology import contracts

SCHEMAS_DIR = Path("shared/keyferry/contracts/schemas")
ARCHITECTURE_DIR = Path("docs/architecture")
REPOSITORY = Path(__file__).resolve().parents[3]


def schemas(models: Iterable[type[BaseModel]]) -> dict[Path, str]:
    """Return the JSON Schema of each message as written, by its path in the repository."""
    return {
        SCHEMAS_DIR / f"{model.__name__}.json": _text(model.model_json_schema(mode="serialization")) for model in models
    }


def render(models: Iterable[type[BaseModel]] | None = None) -> dict[Path, str]:
    """Return the text of every rendered file by its path in the repository. `models` default to the topology's."""
    return schemas(contracts() if models is None else models) | {
        ARCHITECTURE_DIR / "asyncapi.json": _text(asyncapi.document(version("keyferry"))),
        ARCHITECTURE_DIR / "subjects.md": tables.subjects_page(),
        ARCHITECTURE_DIR / "permissions.md": tables.permissions_page(),
    }


def find_drift(root: Path, files: dict[Path, str]) -> list[Path]:
    """Return the files below `root` that differ from `files`, are missing, or are schemas of a removed message."""
    return rendered_files.find_drift(root, files, SCHEMAS_DIR)


def write(root: Path, files: dict[Path, str]) -> list[Path]:
    """Make the files below `root` equal to `files`; return those that were changed."""
    return rendered_files.write(root, files, SCHEMAS_DIR)


def _text(value: object) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m keyferry.contracts.render", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file has drifted")
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the repository (default: the one of this module)"
    )
    args = parser.parse_args(argv)
    if not (args.root / "shared").is_dir():
        print(f"{args.root} is not a checkout of the repository: give one with --root", file=sys.stderr)
        return 2
    if not args.check:
        for path in write(args.root, render()):
            print(f"wrote {path}")
        return 0
    found = find_drift(args.root, render())
    for path in found:
        print(f"{path} differs from the topology: run `python -m keyferry.contracts.render`", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
