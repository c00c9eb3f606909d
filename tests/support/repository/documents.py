"""Reads the documents as a person does: commands to type, links, names."""

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.repository.files import ROOT

SHELL = frozenset({"sh", "bash"})
PYTHON = frozenset({"python"})
SHOWN = frozenset({"mermaid", "text", "toml", "yaml", "json", "ts"})
"""Languages of blocks that are not run."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_PLACEHOLDER = "…"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its location, its language, its text."""

    where: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """One Markdown file; `name` is its path from the root."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def blocks(self) -> list[Block]:
        found = []
        for match in _FENCE.finditer(self.text):
            line = self.text.count("\n", 0, match.start()) + 1
            found.append(Block(f"{self.name}:{line}", match[1], match[2]))
        return found

    @property
    def links(self) -> list[str]:
        """Link targets inside the repository."""
        return [link for link in _LINK.findall(_FENCE.sub("", self.text)) if "://" not in link]

    @property
    def anchors(self) -> set[str]:
        """What a link can name after `#`, derived from headings as GitHub does."""
        plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(_FENCE.sub("", self.text)))
        return {heading.replace(" ", "-") for heading in plain}

    @property
    def spans(self) -> list[str]:
        """Everything in code type outside blocks."""
        return _SPAN.findall(_FENCE.sub("", self.text))

    @property
    def typed(self) -> list[str]:
        """Every command in the document, in blocks and in code type."""
        return [
            command for block in self.blocks if block.language in SHELL for command in commands(block.text)
        ] + self.spans

    def rows(self, column: str) -> Iterator[dict[str, str]]:
        """Yield the rows of all tables that have a column of that name."""
        heads: list[str] | None = None
        for line in self.text.splitlines():
            if not line.startswith("|"):
                heads = None
                continue
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if heads is None:
                heads = cells
            elif column in heads and not set(line) <= set("|- :"):
                yield dict(zip(heads, cells, strict=True))


def documents() -> list[Document]:
    """Return the documents that a reader is sent to."""
    names = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "shared/README.md"]
    names += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
    return [Document(name) for name in names]


def service_pages() -> list[Document]:
    """Return the page of each service."""
    return [Document(str(path.relative_to(ROOT))) for path in sorted((ROOT / "services").glob("*/README.md"))]


def commands(text: str) -> list[str]:
    """Return the commands of a shell block: lines, joined where a backslash or an open quote continues them."""
    found: list[str] = []
    pending = ""
    for line in text.splitlines():
        pending = f"{pending}\n{line}" if pending else line
        if pending.lstrip().startswith("#") or not pending.strip():
            pending = ""
            continue
        if pending.endswith("\\") or not _is_complete(pending):
            continue
        found.append(pending)
        pending = ""
    assert not pending, f"an incomplete command: {pending!r}"
    return found


def _is_complete(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def contains_message(template: str, message: str) -> bool:
    """Return whether `message`, in which `…` matches anything, is part of `template`."""
    end = 0
    for part in message.split(_PLACEHOLDER):
        start = template.find(part, end)
        if start < 0:
            return False
        end = start + len(part)
    return True


def templates(*folders: str) -> list[str]:
    """Return every string in the code that could be shown, f-strings with `…` for their values, without docstrings."""
    found: list[str] = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text())
            silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            found += (text for node in ast.walk(tree) if id(node) not in silent for text in _texts(node))
    return found


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else _PLACEHOLDER for part in node.values)
        yield "".join(map(str, parts))


def documented_messages() -> list[dict[str, str]]:
    """Return the rows of the troubleshooting guide; `message` is without its code formatting."""
    rows = Document("docs/guides/troubleshooting.md").rows("message")
    return [row | {"message": row["message"].strip("`")} for row in rows]
