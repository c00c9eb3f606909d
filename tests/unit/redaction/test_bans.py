"""What gives secrets away by design is not used anywhere: found in the syntax tree, and shown to be found."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
IMPORTS = frozenset(
    {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
)
"""They take an object apart, private attributes and all, and put together whatever they are given."""
CALLS = {
    "record_exception": "it exports an exception's text; `Span.fail` says its kind",
    "start_as_current_span": "it records exceptions; `Telemetry.span` does not",
    "start_as_current_observation": "it records exceptions",
    "raise_for_status": "its error repeats the URL; look at the status",
    "print_exc": "it prints an exception's text; log with `exception`, which says its type and where",
    "format_exc": "it holds an exception's text",
}
FOLDERS = ("services", "shared", "deploy")


def faults(tree: ast.AST) -> Iterator[str]:
    """The banned imports and calls of a file."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
        yield from (f"line {node.lineno}: imports {name}" for name in names if name.partition(".")[0] in IMPORTS)  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute) and node.attr in CALLS:
            yield f"line {node.lineno}: {node.attr}: {CALLS[node.attr]}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_is_used_that_gives_secrets_away(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): list(faults(ast.parse(path.read_text()))) for path in files}
    assert {path: those for path, those in found.items() if those} == {}


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import dumps", "import os, shelve", *(f"x.{name}(error)" for name in CALLS)],
)
def test_what_is_banned_would_be_found(source: str) -> None:
    assert list(faults(ast.parse(source)))
