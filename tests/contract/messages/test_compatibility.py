"""Messages change only by optional additions: the rule itself, and the rule applied to the last released schemas."""

import copy
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from keyferry.contracts import render
from keyferry.contracts.compatibility import incompatibilities
from keyferry.contracts.topology import contracts

Schema = dict[str, Any]

_COLOUR: Schema = {"enum": ["red", "green"], "type": "string"}
_OLD: Schema = {
    "$defs": {
        "Colour": _COLOUR,
        "Part": {"properties": {"size": {"minimum": 0, "type": "integer"}}, "required": ["size"], "type": "object"},
    },
    "properties": {
        "name": {"type": "string"},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "colour": {"$ref": "#/$defs/Colour", "default": "red"},
        "parts": {"items": {"$ref": "#/$defs/Part"}, "type": "array"},
    },
    "required": ["name", "parts"],
    "type": "object",
}


def _new() -> Schema:
    return copy.deepcopy(_OLD)


def test_the_same_schema_is_compatible() -> None:
    assert incompatibilities(_OLD, _new()) == []


def test_a_nested_optional_addition_is_compatible() -> None:
    new = _new()
    new["properties"]["weight"] = {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}
    new["$defs"]["Part"]["properties"]["shape"] = {"default": "round", "type": "string"}
    new["properties"]["name"]["description"] = "What it is called."
    assert incompatibilities(_OLD, new) == []


def test_a_required_addition_is_incompatible() -> None:
    new = _new()
    new["properties"]["weight"] = {"type": "integer"}
    new["required"].append("weight")
    assert incompatibilities(_OLD, new) == [
        "the message: weight became required; a message of the older build lacks it"
    ]


def test_a_removed_property_is_incompatible() -> None:
    new = _new()
    del new["properties"]["note"]
    assert incompatibilities(_OLD, new) == ["the message: the property note is gone"]


def test_a_required_property_must_stay_required() -> None:
    new = _new()
    new["required"].remove("name")
    assert incompatibilities(_OLD, new) == [
        "the message: name became optional; the older build refuses a message without it"
    ]


def test_another_type_behind_a_reference_in_a_list_is_incompatible() -> None:
    new = _new()
    new["$defs"]["Part"]["properties"]["size"]["type"] = "string"
    assert incompatibilities(_OLD, new) == ["the message.parts, items.size: type was 'integer' and is 'string'"]


def test_a_tighter_bound_is_incompatible() -> None:
    new = _new()
    new["$defs"]["Part"]["properties"]["size"]["minimum"] = 1
    assert incompatibilities(_OLD, new) == ["the message.parts, items.size: minimum was 0 and is 1"]


def test_another_default_is_incompatible() -> None:
    new = _new()
    new["properties"]["colour"]["default"] = "green"
    assert incompatibilities(_OLD, new) == ["the message.colour: default was 'red' and is 'green'"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["red", "green", "blue"], "the message.colour: the values blue are new; the older build refuses them"),
        (["red"], "the message.colour: the values green are gone; the older build still sends them"),
    ],
)
def test_another_enumeration_is_incompatible(values: list[str], expected: str) -> None:
    new = _new()
    new["$defs"]["Colour"]["enum"] = values
    assert incompatibilities(_OLD, new) == [expected]


def test_another_set_of_alternatives_is_incompatible() -> None:
    new = _new()
    new["properties"]["note"]["anyOf"] = [{"type": "string"}, {"type": "integer"}, {"type": "null"}]
    assert len(incompatibilities(_OLD, new)) == 1
    new["properties"]["note"]["anyOf"] = [{"type": "integer"}, {"type": "null"}]
    assert incompatibilities(_OLD, new) == ["the message.note, anyOf[0]: type was 'string' and is 'integer'"]


def test_a_schema_that_refers_to_itself_is_compared_once() -> None:
    tree: Schema = {
        "$defs": {"Node": {"properties": {"next": {"$ref": "#/$defs/Node"}}, "type": "object"}},
        "$ref": "#/$defs/Node",
    }
    new = copy.deepcopy(tree)
    assert incompatibilities(tree, new) == []
    new["$defs"]["Node"]["type"] = "array"
    assert len(incompatibilities(tree, new)) == 1


def test_schemas_are_compared_with_the_last_tag(tmp_path: Path) -> None:
    path = render.SCHEMAS_DIR / "Tenant.json"
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text(json.dumps(_OLD))
    assert _broken_since_last_tag(tmp_path, {}) == []
    _git(tmp_path, "init", "--quiet")
    _git(tmp_path, "add", str(path))
    _git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "-m", "first")
    assert _broken_since_last_tag(tmp_path, {}) == []
    _git(tmp_path, "tag", "v1")
    changed = _new() | {"required": ["parts"]}
    assert _broken_since_last_tag(tmp_path, {"Tenant": _OLD}) == []
    assert _broken_since_last_tag(tmp_path, {"Tenant": changed})[0].startswith("Tenant: the message: name became")
    assert _broken_since_last_tag(tmp_path, {}) == ["Tenant: the message is gone"]


def test_messages_are_compatible_with_the_last_tag() -> None:
    now = {model.__name__: model.model_json_schema(mode="serialization") for model in contracts()}
    assert _broken_since_last_tag(render.REPOSITORY, now) == []


def _broken_since_last_tag(repository: Path, now: dict[str, Schema]) -> list[str]:
    """Return incompatibilities with the schemas of the last tag; none if there is no tag."""
    tag = _git(repository, "describe", "--tags", "--abbrev=0", fails=True)
    if not tag:
        return []
    listed = _git(repository, "ls-tree", "-r", "--name-only", tag, str(render.SCHEMAS_DIR) + "/")
    broken = []
    for path in listed.splitlines():
        name = Path(path).stem
        old = json.loads(_git(repository, "show", f"{tag}:{path}"))
        faults = incompatibilities(old, now[name]) if name in now else ["the message is gone"]
        broken += [f"{name}: {fault}" for fault in faults]
    return broken


def _git(repository: Path, *arguments: str, fails: bool = False) -> str:
    git = shutil.which("git") or shutil.which("git", path=os.defpath)
    assert git is not None, "git is needed to read the schemas of the last tag"
    done = subprocess.run([git, *arguments], cwd=repository, capture_output=True, text=True, check=not fails)
    return done.stdout.strip() if done.returncode == 0 else ""
