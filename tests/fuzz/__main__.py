"""`python -m tests.fuzz`: fuzzes every parser for a while, guided by the code that an input reaches.

Each target has a process of its own, since the fuzzer never returns. An input that makes a parser raise is written to
`build/fuzz`, and the command fails.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
_ALL_SECONDS = 600
_LONGEST_INPUT = 4096
_SLOWEST_INPUT_SECONDS = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the targets that the command line names, or all; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help="names; all if left out")
    parser.add_argument("--seconds", type=int, default=_ALL_SECONDS, help="for all targets together")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given, passed_on = parser.parse_known_args(arguments)
    if given.run:
        _fuzz(given.run, passed_on)
    from tests.fuzz.targets import TARGETS

    names = given.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    failed = [name for name in names if _run(name, TARGETS[name].seeds, max(1, given.seconds // len(names)))]
    print(f"{len(names)} targets, failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _run(name: str, seeds: Sequence[bytes], seconds: int) -> bool:
    """Fuzz one target in a process of its own; return whether it failed."""
    crashes = _REPOSITORY / "build" / "fuzz" / name
    crashes.mkdir(parents=True, exist_ok=True)
    print(f"--- {name}: {seconds} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="keyferry-fuzz-") as corpus:
        for number, seed in enumerate(seeds):
            (Path(corpus) / str(number)).write_bytes(seed)
        limits = [f"-max_total_time={seconds}", f"-max_len={_LONGEST_INPUT}", f"-timeout={_SLOWEST_INPUT_SECONDS}"]
        command = [sys.executable, "-m", "tests.fuzz", "--run", name, *limits, "-print_final_stats=1"]
        ended = subprocess.run([*command, f"-artifact_prefix={crashes}/", corpus], cwd=_REPOSITORY, check=False)
    return ended.returncode != 0


def _fuzz(name: str, passed_on: Sequence[str]) -> None:
    """Fuzz a target until its time is over. Never returns."""
    import atheris

    with atheris.instrument_imports(include=["keyferry", "services"]):
        from tests.fuzz.targets import TARGETS
    atheris.Setup([sys.argv[0], *passed_on], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
