"""The guides' table of fallbacks is the one that the code acts on."""

import pytest

from keyferry.contracts.fallback import FALLBACKS, Actions, FallbackAction
from tests.support.repository.files import ROOT

GUIDES = ROOT / "docs" / "guides"


def cell(actions: Actions) -> str:
    return ", ".join(f"`{action}`" for action in actions)


@pytest.mark.parametrize("name", ["fallback.md", "routing.md"])
def test_the_table_of_the_guide_is_the_table_of_the_code(name: str) -> None:
    page = (GUIDES / name).read_text(encoding="utf-8")
    shown = page.partition("<!-- fallbacks:begin -->")[2].partition("<!-- fallbacks:end -->")[0]
    rows = [
        f"| `{failure_class}` | {cell(rule.not_charged)} | {cell(rule.maybe_charged)} |"
        for failure_class, rule in FALLBACKS.items()
    ]
    assert shown.strip().splitlines()[2:] == rows


def test_the_guide_explains_every_action() -> None:
    page = (GUIDES / "fallback.md").read_text(encoding="utf-8")
    assert all(f"\n| `{action}` | " in page for action in FallbackAction)
