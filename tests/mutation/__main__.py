"""Run mutmut over the rules of `mutmut.toml`, and fail for a survivor that `accepted.toml` does not list.

python -m tests.mutation [--keep DIRECTORY] [FILE or FOLDER ...]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from tests.mutation.settings import is_within, only_changing
from tests.mutation.survivors import Change, change_of, changes_only_phrasing, parse_accepted, review, surviving_mutants
from tests.support.repository.files import ROOT

HERE = Path(__file__).parent
ACCEPTED = HERE / "accepted.toml"
_COPIED = (("services", "services"), ("deploy", "deploy"), ("tests", "tests"), ("shared/keyferry", "keyferry"))
_MUTMUT = Path(sys.executable).with_name("mutmut")


def main() -> int:
    """Return the exit status: 0 if every survivor is accepted, 1 if not, 2 if the run failed."""
    parser = argparse.ArgumentParser(description="Change the rules one expression at a time; some test must fail.")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="work in this new directory and leave it there")
    parser.add_argument(
        "paths", nargs="*", metavar="FILE", help="change only these files and folders, relative to the repository"
    )
    arguments = parser.parse_args()
    keep: Path | None = arguments.keep
    if keep is not None and keep.exists():
        parser.error(f"{keep} exists already: name a new directory")
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory(prefix="keyferry-mutants-") as directory:
        work = Path(directory)
        try:
            _copy_tree(work, arguments.paths)
            _mutmut(work, "run", capture=False)
            return _report(_survivors(work), arguments.paths)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"the run failed, and says nothing about the rules: {error}", file=sys.stderr)
            return 2


def _copy_tree(work: Path, paths: Sequence[str]) -> None:
    work.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for source, target in _COPIED:
        shutil.copytree(ROOT / source, work / target, ignore=ignored)
    (work / "pyproject.toml").write_text(only_changing(paths, (HERE / "mutmut.toml").read_text()))


def _mutmut(work: Path, command: str, *, capture: bool) -> str:
    done = subprocess.run(
        [_MUTMUT, command],
        cwd=work,
        env={**os.environ, "PYTHONHASHSEED": "0", "HYPOTHESIS_PROFILE": "ci"},
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=True,
    )
    return done.stdout or ""


def _survivors(work: Path) -> list[Change]:
    changes = []
    for mutant in surviving_mutants(_mutmut(work, "results", capture=True)):
        path = Path(*mutant.rpartition(".")[0].split(".")).with_suffix(".py")
        file = str(Path("shared", path) if path.parts[0] == "keyferry" else path)
        changes.append(change_of(mutant, file, (work / "mutants" / path).read_text()))
    return [change for change in changes if not changes_only_phrasing(change)]


def _report(survivors: list[Change], paths: Sequence[str]) -> int:
    accepted = [entry for entry in parse_accepted(ACCEPTED.read_text()) if is_within(entry.change.file, paths)]
    new, obsolete = review(survivors, accepted)
    for entry in obsolete:
        change = entry.change
        print(f"{change.file}: {change.function}: accepted, but a test detects it now; remove it from accepted.toml:")
        print(f"    - {change.before}\n    + {change.after}")
    for change in new:
        print(f"{change.file}: {change.function}: no test detects")
        print(f"    - {change.before}\n    + {change.after}")
    print(f"{len(survivors)} survivors, of which {len(survivors) - len(new)} are accepted and {len(new)} are new")
    if new:
        print("Write a test that fails for each new one, or add it to tests/mutation/accepted.toml with the reason.")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
