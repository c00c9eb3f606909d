"""A reader for plain YAML as configuration files here are written; whatever else YAML can do is an error.

Mappings and sequences by indentation, `[a, b]`, quoted and plain scalars on one line, comments, anchors, aliases and `<<`. No
dependency of the project reads YAML, and one for tests alone would be a whole language for a few lines.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Mapping = dict[str, object]

_KEY = re.compile(r"""(?P<key><<|[\w.-]+):(?:\s+(?P<rest>.*))?$""")
_ANCHOR = re.compile(r"&(\w+)\s*(.*)$")
_ALIAS = re.compile(r"\*(\w+)$")
_QUOTED = re.compile(r'"([^"\\]*)"')
_PART = re.compile(r"""\s*("[^"\\]*"|[^,"\[\]{}]+?)\s*(?:,|$)""")
_SUSPECT = re.compile(r"[\[\]{}&*!|>%@`'\"]|: |:$")
_CONSTANTS: dict[str, object] = {"true": True, "false": False, "": None}


class NotPlain(ValueError):
    """Something that this reader does not read; the message names the line."""


@dataclass(frozen=True)
class _Line:
    number: int
    indent: int
    text: str


@dataclass
class _Reader:
    lines: list[_Line]
    anchors: dict[str, object] = field(default_factory=dict)

    def block(self, indent: int) -> object:
        """The mapping or sequence whose lines begin at `indent`."""
        first = self.lines[0]
        if first.indent != indent:
            raise NotPlain(f"line {first.number}: unexpected indentation")
        return self._sequence(indent) if first.text.startswith("- ") else self._mapping(indent)

    def _mapping(self, indent: int) -> Mapping:
        found: Mapping = {}
        merged: Mapping = {}
        while self.lines and self.lines[0].indent == indent:
            line = self.lines.pop(0)
            match = _KEY.match(line.text)
            if match is None:
                raise NotPlain(f"line {line.number}: no `key: value`")
            key, value = match["key"], self._value(line, match["rest"] or "", indent)
            if key == "<<":
                if not isinstance(value, dict):
                    raise NotPlain(f"line {line.number}: only a mapping can be merged")
                merged |= value
            elif key in found:
                raise NotPlain(f"line {line.number}: {key} stands there twice")
            else:
                found[key] = value
        self._no_deeper(indent)
        return merged | found

    def _sequence(self, indent: int) -> list[object]:
        found: list[object] = []
        while self.lines and self.lines[0].indent == indent and self.lines[0].text.startswith("- "):
            line = self.lines[0]
            rest = line.text[2:]
            if _KEY.match(rest):  # a mapping that begins beside the dash
                self.lines[0] = _Line(line.number, indent + 2, rest)
                found.append(self._mapping(indent + 2))
            else:
                self.lines.pop(0)
                found.append(self._scalar(line, rest))
        self._no_deeper(indent)
        return found

    def _value(self, line: _Line, text: str, indent: int) -> object:
        anchor = _ANCHOR.match(text)
        if anchor:
            value = self._value(line, anchor[2], indent)
            self.anchors[anchor[1]] = value
            return value
        if not text and self.lines and self.lines[0].indent > indent:
            return self.block(self.lines[0].indent)
        return self._scalar(line, text)

    def _scalar(self, line: _Line, text: str) -> object:
        if alias := _ALIAS.match(text):
            return self.anchors[alias[1]]
        if text.startswith("[") and text.endswith("]"):
            return [self._scalar(line, part) for part in _parts(line, text[1:-1])]
        if quoted := _QUOTED.fullmatch(text):
            return quoted[1]
        if _SUSPECT.search(text):
            raise NotPlain(f"line {line.number}: put {text!r} into double quotes")
        return _CONSTANTS.get(text, text)

    def _no_deeper(self, indent: int) -> None:
        if self.lines and self.lines[0].indent > indent:
            raise NotPlain(f"line {self.lines[0].number}: unexpected indentation")


def read(text: str) -> Mapping:
    """The mapping that this text is. Numbers stay text. Raises NotPlain."""
    reader = _Reader(list(_lines(text)))
    value = reader.block(0)
    if reader.lines or not isinstance(value, dict):
        raise NotPlain("not one mapping")
    return value


def _lines(text: str) -> Iterator[_Line]:
    for number, raw in enumerate(text.splitlines(), 1):
        code = re.sub(r"(^|\s)#.*$", "", raw).rstrip() if '"' not in raw else raw.rstrip()
        if "\t" in code:
            raise NotPlain(f"line {number}: a tab")
        if code.strip():
            yield _Line(number, len(code) - len(code.lstrip()), code.strip())


def _parts(line: _Line, text: str) -> list[str]:
    found = _PART.findall(text)
    if _PART.sub("", text).strip():
        raise NotPlain(f"line {line.number}: cannot read the list {text!r}")
    return [part for part in found if part]
