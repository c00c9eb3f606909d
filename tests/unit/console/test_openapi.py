"""The committed OpenAPI document matches the routes."""

import json
from pathlib import Path

import pytest

from services.console import alert_bodies as bodies_of_alerts
from services.console import bodies as bodies_of_keys
from services.console import budget_bodies as bodies_of_budgets
from services.console import catalog_bodies as bodies_of_catalog
from services.console import charge_bodies as bodies_of_charges
from services.console import command_routes as bodies_of_commands
from services.console import credit_bodies as bodies_of_credits
from services.console import estimate_bodies as bodies_of_estimates
from services.console import health_bodies as bodies_of_health
from services.console import integration_bodies as bodies_of_integrations
from services.console import internal_service_bodies as bodies_of_internal_services
from services.console import member_bodies as bodies_of_members
from services.console import notification_bodies as bodies_of_notifications
from services.console import payment_bodies as bodies_of_payments
from services.console import preference_bodies as bodies_of_preferences
from services.console import purchase_bodies as bodies_of_purchases
from services.console import recommendation_bodies as bodies_of_recommendations
from services.console import reconciliation_bodies as bodies_of_reconciliations
from services.console import route_preview_bodies as bodies_of_previews
from services.console import rule_bodies as bodies_of_rules
from services.console import session_routes as bodies_of_sessions
from services.console import tenant_bodies as bodies_of_tenants
from services.console import token_bodies as bodies_of_tokens
from services.console.openapi import ACCESS_TABLE, DOCUMENT, REPOSITORY, main
from tests.unit.console.surface import openapi_document


def test_committed_document_is_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.console.openapi.build_document", openapi_document)
    assert main(["--check"]) == 0, f"{DOCUMENT} has drifted: run `make schemas`"


def test_outdated_document_is_detected_and_rewritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.console.openapi.build_document", openapi_document)
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
    assert f"{DOCUMENT} is not up to date: run `make schemas`" in capsys.readouterr().err
    assert main(arguments) == 0
    (tmp_path / ACCESS_TABLE).write_text("edited by hand")
    assert main([*arguments, "--check"]) == 1
    assert str(ACCESS_TABLE) in capsys.readouterr().err


def test_every_operation_has_a_unique_name_and_a_description() -> None:
    paths = openapi_document()["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) >= 32
    assert all(operation["description"] for operation in operations)


def test_every_request_body_has_an_example_that_the_console_accepts() -> None:
    modules = (
        bodies_of_charges,
        bodies_of_estimates,
        bodies_of_keys,
        bodies_of_tenants,
        bodies_of_tokens,
        bodies_of_catalog,
        bodies_of_budgets,
        bodies_of_alerts,
        bodies_of_credits,
        bodies_of_rules,
        bodies_of_previews,
        bodies_of_health,
        bodies_of_internal_services,
        bodies_of_preferences,
        bodies_of_commands,
        bodies_of_members,
        bodies_of_sessions,
        bodies_of_payments,
        bodies_of_recommendations,
        bodies_of_integrations,
        bodies_of_notifications,
        bodies_of_purchases,
        bodies_of_reconciliations,
    )
    bodies = [one for module in modules for one in vars(module).values()]
    accepted = {one.__name__: one for one in bodies if isinstance(one, type) and issubclass(one, bodies_of_keys.Body)}
    document = openapi_document()
    schemas = document["components"]["schemas"]
    named = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for methods in document["paths"].values()
        for operation in methods.values()
        if "requestBody" in operation
    }
    assert len(named) >= 10
    for name in named:
        assert schemas[name]["examples"], name
        for example in schemas[name]["examples"]:
            accepted[name].model_validate(example)


def test_clear_key_is_marked_as_a_secret() -> None:
    text = json.dumps(openapi_document())
    assert '"format": "password"' in text
    assert '"writeOnly": true' in text
    assert "HTTPValidationError" not in text, "the framework's own error shape is never sent"
