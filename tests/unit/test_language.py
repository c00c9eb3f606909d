"""The vocabulary of the repository: the field's terms in prose, identifiers and file names; one meaning per class name."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository.files import ROOT, repository_files

SCANNED = ("services/", "shared/", "deploy/", "tests/", "docs/", "examples/")
SCANNED_FILES = frozenset({"README.md", "CONTRIBUTING.md", "Makefile", "docker-compose.yml"})
PRODUCT = ("services/", "shared/", "deploy/")
SUFFIXES = frozenset({".py", ".md", ".yml", ".toml", ".sh", ".lua", ""})
THIS_FILE = "tests/unit/test_language.py"

COINAGES = frozenset({
    "adopt", "adopted", "adopting", "adopts", "arrivals", "astray", "custody", "door", "doors", "gathering", "gathers",
    "heard", "hearer", "hearers", "hearsay", "judge", "judged", "judges", "judging", "lane", "lanes", "lately", "meter",
    "meters", "newcomer", "newcomers", "notices", "pack", "packs", "patience", "placement", "placements", "reseal",
    "reseals", "rewrap", "rewrapped", "rewrapping", "rewraps", "room", "rooms", "seat", "seats", "speaker", "speakers",
    "standing", "stewardship", "stories", "story", "tell", "telling", "tells", "told", "trial", "trials", "unwrap",
    "unwrapped", "unwrapping", "unwraps", "verdict", "verdicts", "whoever", "wording",
})  # fmt: skip
"""Words for which CONTRIBUTING.md asks for the field's term, also as parts of identifiers and file names."""
PHRASES = re.compile(r"\b(?:another house|trying on|boot id|sealing keys?|spoken[ _]by)\b", re.IGNORECASE)
NAMES = frozenset(
    {"Asked", "Facts", "Given", "Wanted", "aged", "board", "forgets", "offered", "opened", "passing", "remember"}
)
"""Identifiers that say nothing out of context."""

PERMITTED = re.compile(r"\.tell\(\)|struct\.(?:un)?pack\w*")
"""Names in the standard library that contain a banned word."""
PERMITTED_IN = {
    "deploy/billing_demo/lago/customers.py": {"trial"},  # fields of Lago's objects
    "deploy/billing_demo/stripe/catalog.py": {"meter", "trial"},  # fields of Stripe's objects
    "deploy/billing_demo/stripe/shapes.py": {"trial"},
    "deploy/billing_demo/stripe/subscriptions.py": {"meter", "trial"},
    "tests/contract/kek_providers/test_particulars.py": {"rewrap"},  # the transit engine's API
    "tests/contract/kek_providers/test_transit_double.py": {"rewrap"},
    "tests/contract/kek_providers/transit_double.py": {"rewrap"},
    "tests/support/providers/recorded_traffic.py": {"judge"},  # a script outside the repository
    "tests/unit/provider_worker/adapters/cohere/test_responses.py": {"trial"},  # Cohere's error messages
    "tests/unit/provider_worker/adapters/response/test_errors.py": {"room"},  # a provider's error message
}
"""Files that quote a banned word."""

ROLES = frozenset({"Handlers"})
"""Classes that every service has."""
PROVIDER_ROLES = re.compile(r"^services/provider_worker/adapters/")
"""Providers' folders have the same classes: each adapter has a `StreamReader`."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def scanned() -> Iterator[Path]:
    """Yield the files with prose and code of ours."""
    for path in repository_files():
        name = path.as_posix()
        if name == THIS_FILE or path.suffix not in SUFFIXES:
            continue
        if name.startswith(SCANNED) or name in SCANNED_FILES:
            yield path


def words(text: str) -> set[str]:
    """Return the words of prose and of identifiers, in lower case."""
    return {word.lower() for word in _WORD.findall(text)}


def coinages(text: str) -> list[str]:
    """Return the banned words and phrases of a line."""
    plain = PERMITTED.sub("", text)
    return sorted(words(plain) & COINAGES) + sorted({phrase.lower() for phrase in PHRASES.findall(plain)})


def identifiers(path: Path) -> Iterator[str]:
    """Yield the names that a module defines."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


FILES = list(scanned())
CODE = [path for path in FILES if path.suffix == ".py"]


def test_the_scan_covers_the_repository() -> None:
    folders = {path.parts[0] for path in FILES}
    assert folders >= {folder.rstrip("/") for folder in SCANNED} | SCANNED_FILES


def coinages_in(path: Path) -> Iterator[str]:
    """Yield the place and the coinages of each line of a file; line 0 is its name."""
    lines = [path.as_posix(), *(ROOT / path).read_text().splitlines()]
    permitted = PERMITTED_IN.get(path.as_posix(), set())
    for number, line in enumerate(lines):
        if hits := [hit for hit in coinages(line) if hit not in permitted]:
            yield f"{path}:{number}: {', '.join(hits)}"


def test_field_terms_are_used_in_place_of_coinages() -> None:
    found = [line for path in FILES for line in coinages_in(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("path", "permitted"), PERMITTED_IN.items())
def test_every_exception_is_still_needed(path: str, permitted: set[str]) -> None:
    assert permitted <= set(coinages((ROOT / path).read_text()))


def test_identifiers_make_sense_out_of_context() -> None:
    product = [path for path in CODE if path.as_posix().startswith(PRODUCT)]
    found = {str(path): names for path in product if (names := sorted(set(identifiers(path)) & NAMES))}
    assert not found


def test_no_class_name_has_two_meanings() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in CODE:
        name = path.as_posix()
        if not name.startswith(PRODUCT) or PROVIDER_ROLES.match(name):
            continue
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(name)
    repeated = {name: sorted(files) for name, files in places.items() if len(files) > 1 and name not in ROLES}
    assert not repeated, "\n".join(f"{name}: {', '.join(files)}" for name, files in sorted(repeated.items()))
