"""The rules in the guide and in the examples can be published as they are."""

from pathlib import Path

import pytest

from keyferry.cli.rule_file import parse_rules
from keyferry.contracts.rule_checks import check_rule_set
from tests.support.repository.documents import Block, documents
from tests.support.repository.files import ROOT

EXAMPLES = sorted((ROOT / "examples" / "rules").iterdir())
BLOCKS = [
    block
    for document in documents()
    for block in document.blocks
    if block.language == "yaml" and "rules:" in block.text
]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.name))
def test_an_example_has_no_faults(path: Path) -> None:
    rules = parse_rules(path.read_bytes())
    assert rules.rules
    assert check_rule_set(rules, "acme") == []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(block.where))
def test_the_rules_of_a_guide_have_no_faults(block: Block) -> None:
    rules = parse_rules(block.text.encode())
    assert rules.rules
    assert check_rule_set(rules, "acme") == []


def test_there_are_examples_and_guides() -> None:
    assert EXAMPLES
    assert BLOCKS
