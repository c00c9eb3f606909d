"""Run mutmut over the rules of `mutmut.toml`, and fail for a survivor that `accepted.toml` does not list.

python -m tests.mutation [--keep DIRECTORY]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

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
    keep: Path | None = parser.parse_args().keep
    if keep is not None and keep.exists():
        parser.error(f"{keep} exists already: name a new directory")
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory(prefix="keyferry-mutants-") as directory:
        work = Path(directory)
        try:
            _copy_tree(work)
            _mutmut(work, "run", capture=False)
            return _report(_survivors(work))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"the run failed, and says nothing about the rules: {error}", file=sys.stderr)
            return 2


def _copy_tree(work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    ignored = shutil.ignore_patterns("__pycache__")
    for source, target in _COPIED:
        shutil.copytree(ROOT / source, work / target, ignore=ignored)
    shutil.copy(HERE / "mutmut.toml", work / "pyproject.toml")


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


def _report(survivors: list[Change]) -> int:
    accepted = parse_accepted(ACCEPTED.read_text())
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
