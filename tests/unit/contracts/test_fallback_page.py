"""The guide's table of fallbacks is the one that the code acts on."""

from keyferry.contracts.fallback import FALLBACKS, Actions, FallbackAction
from tests.support.repository.files import ROOT

PAGE = (ROOT / "docs" / "guides" / "fallback.md").read_text(encoding="utf-8")


def cell(actions: Actions) -> str:
    return ", ".join(f"`{action}`" for action in actions)


def test_the_table_of_the_guide_is_the_table_of_the_code() -> None:
    shown = PAGE.partition("<!-- fallbacks:begin -->")[2].partition("<!-- fallbacks:end -->")[0]
    rows = [
        f"| `{failure_class}` | {cell(rule.not_charged)} | {cell(rule.maybe_charged)} |"
        for failure_class, rule in FALLBACKS.items()
    ]
    assert shown.strip().splitlines()[2:] == rows


def test_the_guide_explains_every_action() -> None:
    assert all(f"\n| `{action}` | " in PAGE for action in FallbackAction)
