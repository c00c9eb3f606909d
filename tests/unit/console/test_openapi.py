"""The committed OpenAPI document matches the routes."""

import json
from pathlib import Path

import pytest

from services.console.handlers import build_document
from services.console.openapi import DOCUMENT, REPOSITORY, main


def test_committed_document_is_current() -> None:
    assert main(["--check"]) == 0, f"{DOCUMENT} has drifted: run `make schemas`"


def test_outdated_document_is_detected_and_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path)]
    assert main([*arguments, "--check"]) == 1
    assert main(arguments) == 0
    assert main([*arguments, "--check"]) == 0
    file = tmp_path / DOCUMENT
    assert file.read_text() == (REPOSITORY / DOCUMENT).read_text()
    changed = json.loads(file.read_text())
    del changed["paths"]["/api/v1/audit"]
    file.write_text(json.dumps(changed))
    assert main([*arguments, "--check"]) == 1
    assert "make schemas" in capsys.readouterr().err


def test_every_operation_has_a_unique_name_and_a_description() -> None:
    paths = build_document()["paths"]
    assert isinstance(paths, dict)
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) >= 32
    assert all(operation["description"] for operation in operations)


def test_clear_key_is_marked_as_a_secret() -> None:
    text = json.dumps(build_document())
    assert '"format": "password"' in text
    assert '"writeOnly": true' in text
    assert "HTTPValidationError" not in text, "the framework's own error shape is never sent"
