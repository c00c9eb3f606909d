"""What axe-core finds on a page (https://github.com/dequelabs/axe-core, MPL-2.0, used by tests alone)."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from playwright.sync_api import Page

from tests.ui.node_packages import installed_packages

TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
"""WCAG 2.2 at level AA, and what axe advises beyond it."""
_RUN = """async (tags) => {
    const found = await window.axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] });
    return found.violations.map((each) => ({
        rule: each.id, impact: each.impact, help: each.help,
        nodes: each.nodes.map((node) => [node.target.join(' '), node.html.slice(0, 200), node.failureSummary]),
    }));
}"""


@dataclass(frozen=True)
class Violation:
    """One rule that a page breaks."""

    rule: str
    impact: str | None
    help: str
    nodes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.rule} ({self.impact}): {self.help}\n    " + "\n    ".join(self.nodes[:5])


@cache
def _axe_script() -> str:
    return (installed_packages() / "axe-core" / "axe.min.js").read_text()


def violations(page: Page) -> list[Violation]:
    """Return the rules that the page breaks as it is now.

    The script is evaluated by the debugger, which the policy of the page does not bind.
    """
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_axe_script())
    found: list[dict[str, Any]] = page.evaluate(_RUN, list(TAGS))
    return [_violation(each) for each in found]


def _violation(found: dict[str, Any]) -> Violation:
    nodes = tuple(f"{target}: {html} {summary}" for target, html, summary in found["nodes"])
    return Violation(str(found["rule"]), found["impact"], str(found["help"]), nodes)
