"""A YAML file of rules is read strictly; what is wrong is named with its line, and nothing in it can do harm."""

from pathlib import Path

import pytest

from keyferry.cli import main
from keyferry.cli.problem import Problem
from keyferry.cli.rule_file import MAX_FILE_BYTES, InvalidRuleFile, parse_rules, read_rule_file

KEY = "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"
GOOD = b"""# Who reviews code
rules:
  - name: code-to-claude
    when:
      operation: code-review   # one value needs no list
      tag: [team=search, beta]
    chain:
      - split:
          - {model: claude-sonnet-4-5, weight: 90}
          - {model: gpt-5-mini, weight: 10}
      - power_level: precision
"""


def faults(data: bytes) -> list[tuple[int, str]]:
    with pytest.raises(InvalidRuleFile) as refused:
        parse_rules(data)
    return [(fault.line, fault.detail) for fault in refused.value.faults]


def test_a_file_is_read() -> None:
    (rule,) = parse_rules(GOOD).rules
    assert (rule.name, rule.when.operation, rule.when.tag) == (
        "code-to-claude",
        ["code-review"],
        ["team=search", "beta"],
    )
    assert parse_rules(b"\xef\xbb\xbfrules: []").rules == []


@pytest.mark.parametrize(
    ("data", "line", "detail"),
    [
        (b"", 1, "the file is empty; write `rules: []` for no rules"),
        (b"# nothing\n", 1, "the file is empty"),
        (b"- a\n", 1, "a mapping with the one key `rules`"),
        (b"rules:\n", 1, "rules: it should be an array"),
        (b"rules: []\nversion: 1\n", 2, "version: there is no such field"),
        (b"rules: []\nrules: []\n", 2, "the key rules is there already, in line 1"),
        (GOOD.replace(b"chain:", b"name:"), 7, "the key name is there already, in line 3"),
        (b"rules: [\n", 2, "this is not YAML"),
        (b"rules:\n\t- a\n", 2, "this is not YAML"),
        (b"rules: []\n---\nrules: []\n", 2, "there is a second document"),
        (b"a: &x [1]\nrules: *x\n", 1, "anchors (&) and aliases (*) are not allowed"),
        (b"rules: *x\n", 1, "anchors (&) and aliases (*) are not allowed"),
        (b"rules: !!python/object/apply:os.system [id]\n", 1, "tags (!) are not allowed"),
        (b"rules: !!binary aGk=\n", 1, "tags (!) are not allowed"),
        (b"rules:\n  <<: {a: 1}\n", 2, "merge keys (<<) are not allowed"),
        (b"on: []\n", 1, "quote words such as yes, no, on, off"),
        (b"1: []\n", 1, "a key must be a text"),
        (b"[a, b]: []\n", 1, "a key must be a text"),
        (b"rules: []\n\x00", 2, "there is a control character"),
        (b"rules: []\n\xff", 2, "the file is not UTF-8"),
        (b"rules: " + b"[" * 5000, 1, "nested deeper than 12 levels"),
        (b"rules: [" + b"1," * 120_000 + b"]", 1, "more than 100000 values"),
        (b"#" * (MAX_FILE_BYTES + 1), 1, "the file is larger than 512 KiB"),
        (b"rules: " + b"9" * 9000, 1, "cannot be read"),
        (b"rules: 2001-99-99", 1, "cannot be read"),
        (GOOD.replace(b"weight: 10", b"weight: 0"), 10, "rules[0].chain[0].split[1].weight: it should be at least 1"),
        (GOOD.replace(b"weight: 10", b"weight: .nan"), 10, "it should be an integer"),
        (GOOD.replace(b"weight: 10", b"weight: 1e3"), 10, "it should be an integer"),
        (GOOD.replace(b"weight: 10", b"weight: 010"), 10, "YAML reads 010 as 8"),
        (GOOD.replace(b"weight: 10", b"weight: 1:30"), 10, "1:30 as 90"),
        (GOOD.replace(b"weight: 10", b"weight: 0x10"), 10, "decimal digits"),
        (GOOD.replace(b"weight: 10", b"weight: 1_0"), 10, "decimal digits"),
        (GOOD.replace(b"precision", b"turbo"), 11, "'eco', 'balanced' or 'precision'"),
        (GOOD.replace(b"operation: code-review", b"operation: no"), 5, "rules[0].when.operation"),
        (GOOD.replace(b"tag:", b"tags:"), 6, "rules[0].when.tags: there is no such field"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(data: bytes, line: int, detail: str) -> None:
    found = faults(data)
    assert found[0][0] == line
    assert detail in found[0][1]


def test_all_faults_are_named_in_the_order_of_the_file() -> None:
    found = faults(GOOD.replace(b"weight: 10", b"weight: 0").replace(b"tag:", b"tags:"))
    assert [line for line, _ in found] == [6, 10]


def test_a_key_in_the_file_is_not_repeated() -> None:
    for data in (
        f"rules: []\n{KEY}: 1",
        f"{KEY}: 1\n{KEY}: 2",
        f"rules:\n - name: {KEY}\n   chain: [{{model: {KEY}}}]",
    ):
        assert KEY not in str(faults(data.encode()))


def test_a_problem_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    with pytest.raises(Problem, match="No such file"):
        read_rule_file(file)
    file.write_bytes(b"rules: []\nrules: []\n")
    with pytest.raises(Problem, match="line 2: the key rules is there already"):
        read_rule_file(file)


def test_check_needs_no_installation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rules.yaml"
    file.write_bytes(GOOD)
    assert main.run(["route", "check", str(file)]) == 0
    assert "1 rule: nothing is wrong with them in themselves" in capsys.readouterr().out
    file.write_bytes(GOOD + GOOD.partition(b"rules:\n")[2].replace(b"code-to-claude", b"late"))
    assert main.run(["route", "check", str(file)]) == 1
    assert "fault, rule late: it matches nothing: code-to-claude, before it, matches all" in capsys.readouterr().out
    assert main.run(["route", "check", "--json", str(file)]) == 1
    assert '"code":"matches_nothing"' in capsys.readouterr().out
