"""The difference between two rule sets, by rule and as a unified diff of their files. Pure."""

from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any

from keyferry.contracts.rule_management import RuleChange, RuleChangeKind
from keyferry.contracts.rule_text import format_rule_set
from keyferry.contracts.rules import RuleSet


def compare(before: RuleSet, after: RuleSet) -> list[RuleChange]:
    """Return the rules that differ: removed ones first, then the others in their new order."""
    old = {rule.name: rule.model_dump(mode="json") for rule in before.rules}
    new = {rule.name: rule.model_dump(mode="json") for rule in after.rules}
    changes = [RuleChange(rule=name, change=RuleChangeKind.REMOVED) for name in old if name not in new]
    in_place = _longest_common_order([name for name in old if name in new], [name for name in new if name in old])
    for name, rule in new.items():
        if name not in old:
            changes.append(RuleChange(rule=name, change=RuleChangeKind.ADDED))
        elif fields := list(_changed_fields(old[name], rule)):
            changes.append(RuleChange(rule=name, change=RuleChangeKind.CHANGED, fields=fields))
        elif name not in in_place:
            changes.append(RuleChange(rule=name, change=RuleChangeKind.MOVED))
    return changes


def text_difference(before: RuleSet, after: RuleSet, names: tuple[str, str]) -> list[str]:
    """Return the lines of a unified diff of the two files; none if they are the same."""
    return list(unified_diff(format_rule_set(before), format_rule_set(after), *names, lineterm=""))


def _changed_fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for name, value in after.items():
        if name == "when":
            yield from (f"when.{key}" for key in value if value[key] != before[name][key])
        elif value != before[name]:
            yield name


def _longest_common_order(old: list[str], new: list[str]) -> set[str]:
    """Return the most names that have the same order in both lists: the others were moved."""
    positions = {name: position for position, name in enumerate(old)}
    best: list[list[str]] = []
    whole: list[str] = []
    for index, name in enumerate(new):
        longest: list[str] = []
        for other in range(index):
            if positions[new[other]] < positions[name] and len(best[other]) > len(longest):
                longest = best[other]
        best.append([*longest, name])
        if len(best[-1]) > len(whole):
            whole = best[-1]
    return set(whole)
