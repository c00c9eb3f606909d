"""Reads a YAML file of routing rules, strictly, and says in which line something is wrong.

YAML allows more than rules need. Aliases are refused, since a few lines of them can stand for gigabytes; so are repeated keys, of
which YAML readers silently keep the last, several documents, and tags.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import ValidationError

from keyferry.cli.problem import Problem
from keyferry.contracts.invalid_values import format_path, invalid_values
from keyferry.contracts.misplaced_key import may_be_key
from keyferry.contracts.rules import MAX_DOCUMENT_BYTES, RuleSet

MAX_FILE_BYTES = 4 * MAX_DOCUMENT_BYTES
"""With comments and indentation."""
_MAX_DEPTH = 12
_MAX_NODES = 100_000
_MAX_FAULTS = 20
_EXAMPLE = "docs/guides/rules.md has examples"
_DECIMAL = re.compile(r"[+-]?(0|[1-9][0-9]*)")
ValuePath = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class FileFault:
    """Something wrong in a line of the file, counted from 1."""

    line: int
    detail: str


class InvalidRuleFile(Exception):
    """A file that holds no rules; `faults` says why, in the order of the file."""

    def __init__(self, faults: list[FileFault]) -> None:
        super().__init__(faults[0].detail)
        self.faults = faults


def read_rule_file(path: Path) -> RuleSet:
    """Read the rules of a file; `-` is standard input. Raises Problem with file, line and fault."""
    name = "standard input" if str(path) == "-" else str(path)
    try:
        with click.open_file(str(path), "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Problem(f"cannot read the rules in {name}: {error.strerror}", "Give the path of a YAML file") from None
    try:
        return parse_rules(data)
    except InvalidRuleFile as error:
        first, *others = [f"{name}, line {fault.line}: {fault.detail}" for fault in error.faults]
        rest = f"; {'; '.join(others)}" if others else ""
        raise Problem(f"{first}{rest}", f"Nothing was changed. Correct the file; {_EXAMPLE}") from None


def parse_rules(data: bytes) -> RuleSet:
    """Return the rules of a document. Raises InvalidRuleFile."""
    document, lines = load_document(data)
    if not isinstance(document, dict):
        raise InvalidRuleFile([FileFault(1, "the file must be a mapping with the one key `rules`")])
    try:
        return RuleSet.model_validate(document)
    except ValidationError as error:
        found = invalid_values(error.errors(include_url=False))
        faults = [FileFault(_line_of(value.path, lines), f"{_place(value.path)}: {value.reason}") for value in found]
        raise InvalidRuleFile(sorted(faults, key=lambda fault: fault.line)[:_MAX_FAULTS]) from None


def load_document(data: bytes) -> tuple[Any, dict[ValuePath, int]]:
    """Return the document and the line of each of its values, by path. Raises InvalidRuleFile."""
    if len(data) > MAX_FILE_BYTES:
        raise InvalidRuleFile([FileFault(1, f"the file is larger than {MAX_FILE_BYTES // 1024} KiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidRuleFile([FileFault(line, "the file is not UTF-8 text")]) from None
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[ValuePath, int] = {}
        if node is None:
            raise InvalidRuleFile([FileFault(1, "the file is empty; write `rules: []` for no rules")])
        _index(node, (), lines)
        return yaml.safe_load(text), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = f"this is not YAML: {error.problem or error.context or 'it cannot be read'}"
        raise InvalidRuleFile([FileFault(_line(mark), detail)]) from None
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise InvalidRuleFile([FileFault(line, "there is a control character, which no YAML file may have")]) from None
    except (ValueError, OverflowError):
        # A number or a date that Python cannot hold, such as one of ten thousand digits.
        raise InvalidRuleFile([FileFault(1, "a number or a date in the file cannot be read")]) from None


def _check_events(text: str) -> None:
    """Check the structure before anything is built. Raises InvalidRuleFile and yaml.YAMLError."""
    depth = documents = 0
    for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        line = _line(event.start_mark)
        if number > _MAX_NODES:
            raise InvalidRuleFile([FileFault(line, f"the file has more than {_MAX_NODES} values")])
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise InvalidRuleFile(
                [FileFault(line, "anchors (&) and aliases (*) are not allowed: repeat the values, or quote them")]
            )
        if getattr(event, "tag", None) is not None:
            raise InvalidRuleFile([FileFault(line, "tags (!) are not allowed: leave it out, or quote the value")])
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise InvalidRuleFile([FileFault(line, "there is a second document: a file holds one rule set")])
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                raise InvalidRuleFile([FileFault(line, f"values are nested deeper than {_MAX_DEPTH} levels")])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _index(node: yaml.Node, path: ValuePath, lines: dict[ValuePath, int]) -> None:
    """Record the line of each value. Raises InvalidRuleFile for repeated keys, keys that are no text, and unusual numbers."""
    lines.setdefault(path, _line(node.start_mark))
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:int" and not _DECIMAL.fullmatch(node.value):
        detail = "a number must be decimal digits without a zero before them: YAML reads 010 as 8, and 1:30 as 90"
        raise InvalidRuleFile([FileFault(_line(node.start_mark), detail)])
    if isinstance(node, yaml.MappingNode):
        for name, key, value in _keys(node):
            if (*path, name) in lines:
                first = lines[*path, name]
                shown = f" {name}" if len(name) <= 40 and not may_be_key(name) else ""
                detail = f"the key{shown} is there already, in line {first}: a mapping has each key once"
                raise InvalidRuleFile([FileFault(_line(key.start_mark), detail)])
            lines[*path, name] = _line(key.start_mark)
            _index(value, (*path, name), lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            _index(item, (*path, number), lines)


def _keys(node: yaml.MappingNode) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
            detail = "a key must be a text: quote words such as yes, no, on, off and numbers; merge keys (<<) are not allowed"
            raise InvalidRuleFile([FileFault(_line(key.start_mark), detail)])
        yield key.value, key, value


def _line(mark: Any) -> int:
    """Return the line of a mark of the parser, counted from 1."""
    return 1 if mark is None else int(mark.line) + 1


def _line_of(path: ValuePath, lines: dict[ValuePath, int]) -> int:
    """Return the line of the value at `path`, or of the nearest one around it."""
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 1)


def _place(path: ValuePath) -> str:
    """Return where a value is, without repeating a name that may be a misplaced key."""
    safe = tuple("…" if isinstance(part, str) and (len(part) > 40 or may_be_key(part)) else part for part in path)
    return format_path(safe) or "the file"
