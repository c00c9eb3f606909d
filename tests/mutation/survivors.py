"""Survivors of a run: what was changed, and which of them are accepted. Pure."""

import ast
import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass

_MARK = "__mutmut_"
_MUTANT_NAME = re.compile(r"x(?:_|ǁ\w+ǁ)(\w+?)__mutmut_(?:orig|\d+)\b")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one function. `file` is relative to the repository."""

    file: str
    function: str
    """Its name, or that of its class and its own: `Tariff.cost`."""
    before: str
    """The changed lines of the original, joined by a space."""
    after: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """A survivor that was reviewed, and why no test should fail for it."""

    change: Change
    reason: str


def parse_accepted(text: str) -> list[Accepted]:
    """Parse the list of accepted survivors (TOML). Raises ValueError for a malformed entry, naming it."""
    found = []
    for entry in tomllib.loads(text).get("accepted", []):
        if entry.keys() != {"file", "function", "before", "after", "reason"} or not all(
            isinstance(value, str) and value.strip() for value in entry.values()
        ):
            raise ValueError(f"an accepted survivor has file, function, before, after and reason, each a text: {entry}")
        found.append(
            Accepted(Change(entry["file"], entry["function"], entry["before"], entry["after"]), entry["reason"])
        )
    return found


def surviving_mutants(results: str) -> list[str]:
    """Return the names of the mutants that no test detected, from the output of `mutmut results`.

    Raises ValueError for a mutant that was not tried. A mutant that never ends was detected.
    """
    survivors = []
    for line in results.splitlines():
        name, separator, status = line.strip().rpartition(": ")
        if not separator or _MARK not in name:
            continue
        if status in ("survived", "no tests"):
            survivors.append(name)
        elif status not in ("killed", "timeout", "segfault", "caught by type check"):
            raise ValueError(f"{name} was not tried: {status}")
    return survivors


def change_of(mutant: str, file: str, mutated_source: str) -> Change:
    """Return what a mutant changes. `mutated_source` is mutmut's file with every mutant beside its original."""
    mangled = mutant.rpartition(".")[2]
    key = mangled.partition(_MARK)[0]
    functions = _functions(mutated_source)
    diff = list(difflib.ndiff(functions[f"{key}{_MARK}orig"], functions[mangled]))
    before, after = (" ".join(line[2:].strip() for line in diff if line.startswith(sign)) for sign in ("- ", "+ "))
    name = key.removeprefix("x").strip("ǁ").replace("ǁ", ".")
    return Change(file, name.removeprefix("_") if key.startswith("x_") else name, before, after)


def changes_only_phrasing(change: Change) -> bool:
    """Return whether only the phrasing of a sentence differs: its letters' case, or the mark that mutmut puts around it."""
    if _plain(change.before) != _plain(change.after):
        return False
    before, after = _STRING.findall(change.before), _STRING.findall(change.after)
    changed = [old for old, new in zip(before, after, strict=False) if old != new]
    return len(before) == len(after) and bool(changed) and all(" " in text for text in changed)


def review(changes: Iterable[Change], accepted: Iterable[Accepted]) -> tuple[list[Change], list[Accepted]]:
    """Return the survivors that are not accepted, and the accepted ones that do not survive (any more)."""
    survivors, known = set(changes), {entry.change: entry for entry in accepted}
    new = sorted(
        survivors - known.keys(), key=lambda change: (change.file, change.function, change.before, change.after)
    )
    return new, [entry for change, entry in known.items() if change not in survivors]


def _plain(text: str) -> str:
    return text.replace("XX", "").casefold()


def _functions(source: str) -> dict[str, list[str]]:
    lines = source.splitlines()
    return {
        node.name: [_MUTANT_NAME.sub(r"\1", line) for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _MARK in node.name
    }
