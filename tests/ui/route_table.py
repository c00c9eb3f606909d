"""The pages of the console, read from its own sources, so that each new page is tested without another line here."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.support.repository.files import ROOT
from tests.ui.demo.people import OPERATOR, OWNER, TENANT, Person
from tests.ui.demo.system import DemoSystem

_SOURCES: Final = ROOT / "services" / "console" / "web" / "src"
_TABLE = re.compile(r"const (TENANT_PAGES|OPERATOR_PAGES)\b[^=]*= \{\n(.*?)\n\};", re.DOTALL)
_PAGE = re.compile(r'^  (?:"([^"]+)"|([\w-]+)): \(\) => import\(', re.MULTILINE)

PARAMETERS: Mapping[str, Callable[[DemoSystem], str]] = {
    "requestId": lambda demo: demo.request_ids[-1],
    "trace": lambda demo: demo.request_ids[-1],  # its provider was down, so that its trace is kept
    "keyId": lambda demo: demo.key_ids[TENANT, "Production"],
}
"""The values with which pages are opened whose addresses have parameters."""


@dataclass(frozen=True)
class ConsolePage:
    """One page: its name in tests, its path with parameters, and who opens it."""

    name: str
    path: str
    person: Person

    def address(self, demo: DemoSystem) -> str:
        """Return its path in the demo system."""
        return re.sub(r"\$(\w+)", lambda found: PARAMETERS[found[1]](demo), self.path)


def read_pages() -> list[ConsolePage]:
    """Return the pages of a tenant, and then those about the installation."""
    tables = dict(_TABLE.findall((_SOURCES / "routes.tsx").read_text()))
    pages = [_page(path, f"/t/{TENANT}", "", OWNER) for path in _paths(tables["TENANT_PAGES"])]
    pages += [_page(path, "/ops", "ops-", OPERATOR) for path in _paths(tables["OPERATOR_PAGES"])]
    return pages


def _paths(table: str) -> list[str]:
    return [quoted or plain for quoted, plain in _PAGE.findall(table)]


def _page(path: str, base: str, prefix: str, person: Person) -> ConsolePage:
    below = path.strip("/")
    name = re.sub(r"\W+", "-", below.replace("$", "")) or "home"
    return ConsolePage(prefix + name, f"{base}/{below}".rstrip("/"), person)


def read_navigation() -> list[tuple[str, str]]:
    """Return (path, name) of the pages that the navigation of a tenant shows, in its order."""
    found: dict[str, Any] = json.loads((_SOURCES / "navigation.json").read_text())
    return [(str(page["path"]), str(page["name"])) for group in found["groups"] for page in group["pages"]]
