"""Every route of the management API with generated requests, in a running system: each answer is as the document says."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from services.console.handlers import build_document
from services.console.live_events.response import EVENT_STREAM
from tests.support.system.keyferry_system import KeyferrySystem, running_system

_LEAST_ROUTES = 150
_FOR_ANY_TENANT = "/ops/tenants/{tenant}/"
"""In the paths of routes that an operator calls for a tenant: the same handlers as those for the own tenant."""
_UNAVAILABLE = 503
"""What the provider or server that a request names may be; every other 5xx is a defect."""
_NOT_CHECKED = [ignored_auth, not_a_server_error, positive_data_acceptance]
"""Credentials have tests of their own. Some rules, such as that names are no keys, cannot be said in a schema."""


def _is_endless(operation: Any) -> bool:
    """Return whether an operation's answer is a stream of events, which does not end by itself; they have tests of their own."""
    return EVENT_STREAM in operation.definition.raw["responses"].get("200", {}).get("content", {})


@pytest.fixture(scope="module")
def system() -> Iterator[KeyferrySystem]:
    """Run a system of its own: generated requests change models, prices and circuits."""
    with tempfile.TemporaryDirectory(prefix="keyferry-routes-") as directory:
        Path(directory).chmod(0o711)
        with running_system(Path(directory) / "home") as running:
            yield running


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("examples", [1, pytest.param(500, marks=pytest.mark.long)])
def test_every_answer_of_every_route_is_as_documented(system: KeyferrySystem, examples: int) -> None:
    url = str(system.state["console_url"])
    token = Path(str(system.state["operator_token_file"])).read_text().strip()
    wrong: dict[str, str] = {}

    def drive(case: Any) -> None:
        response = case.call(base_url=url, headers={"authorization": f"Bearer {token}"})
        if response.status_code >= 500 and response.status_code != _UNAVAILABLE:
            wrong.setdefault(case.operation.label, f"{response.status_code}: {case.as_curl_command()}")
        try:
            case.validate_response(response, excluded_checks=_NOT_CHECKED)
        except FailureGroup as failures:
            wrong.setdefault(case.operation.label, f"{failures.exceptions}: {case.as_curl_command()}")

    generated = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    schema: Any = schemathesis.openapi.from_dict(build_document())
    operations = [one for found in schema.get_all_operations() if not _is_endless(one := found.ok())]
    assert len(operations) >= _LEAST_ROUTES
    for operation in operations if examples > 1 else (one for one in operations if _FOR_ANY_TENANT not in one.path):
        generated(given(case=operation.as_strategy())(drive))()
    assert not wrong, "\n".join(f"{label}: {what}" for label, what in sorted(wrong.items()))
