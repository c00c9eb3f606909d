"""The committed generated files match the topology."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from keyferry.contracts import render, rendered_files, topology
from keyferry.contracts.envelope import Message
from keyferry.contracts.tenancy import Tenant


def _tree(root: Path) -> Path:
    (root / "shared").mkdir()
    render.write(root, render.render())
    return root


def test_committed_files_match_the_topology() -> None:
    assert render.find_drift(render.REPOSITORY, render.render()) == []
    assert render.main(["--check"]) == 0


def test_a_changed_message_is_reported(tmp_path: Path) -> None:
    changed = type("Tenant", (Tenant,), {"__annotations__": {"colour": str}, "__doc__": Tenant.__doc__})
    assert issubclass(changed, BaseModel)
    root = _tree(tmp_path)
    assert render.find_drift(root, render.render()) == []
    models = [changed if model is Tenant else model for model in topology.contracts()]
    assert render.find_drift(root, render.render(models)) == [render.SCHEMAS_DIR / "Tenant.json"]


def test_the_schema_of_a_removed_message_is_reported_and_removed(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    left = [model for model in topology.contracts() if model is not Tenant]
    orphan = render.SCHEMAS_DIR / "Tenant.json"
    assert render.find_drift(root, render.render(left)) == [orphan]
    render.write(root, render.render(left))
    assert not (root / orphan).exists()
    assert render.find_drift(root, render.render(left)) == []


def test_files_of_another_kind_leave_the_schemas_alone(tmp_path: Path) -> None:
    root = _tree(tmp_path)
    page = Path("docs/page.md")
    assert rendered_files.write(root, {page: "text"}) == [page]
    assert (root / render.SCHEMAS_DIR / "Tenant.json").exists()


def test_check_names_the_file_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = _tree(tmp_path)
    page = root / render.ARCHITECTURE_DIR / "subjects.md"
    page.write_text("edited by hand")
    assert render.main(["--check", "--root", str(root)]) == 1
    assert "docs/architecture/subjects.md" in capsys.readouterr().err
    assert page.read_text() == "edited by hand"
    assert render.main(["--root", str(root)]) == 0
    assert render.main(["--check", "--root", str(root)]) == 0


def test_nullable_fields_are_optional() -> None:
    """Nulls are not sent, so a nullable field without a default could not be read again."""
    faults = [
        f"{model.__name__}.{name}"
        for model in _with_parts(topology.contracts())
        for name, field in model.model_fields.items()
        if field.is_required() and type(None) in getattr(field.annotation, "__args__", ())
    ]
    assert faults == []


def test_unknown_fields_are_ignored_between_services_and_rejected_in_management() -> None:
    """Services of two versions share the bus; a person's misspelt setting must be rejected."""
    schemas = {path.stem: json.loads(text) for path, text in render.schemas(topology.contracts()).items()}
    for subject in topology.SUBJECTS:
        closed = schemas[subject.message.__name__].get("additionalProperties") is False
        if subject.kind is not topology.SubjectKind.REQUEST:
            assert not closed, subject.name
        elif not subject.fast_path and topology.Role.OPERATOR in subject.publishers:
            assert closed, subject.name


def _with_parts(models: Iterable[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """Yield the messages, and the messages inside them."""
    names = {name for model in models for name in [model.__name__, *model.model_json_schema().get("$defs", {})]}
    return (model for model in _descendants(Message) if model.__name__ in names)


def _descendants(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _descendants(child)
