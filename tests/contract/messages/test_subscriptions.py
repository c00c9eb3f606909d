"""Each service subscribes to exactly what the topology says, neither more nor less."""

import importlib
from pathlib import Path
from typing import Any, cast

import pytest

from deploy.embedded.home import Home
from deploy.embedded.services import SERVICES as SERVICES_RUN
from keyferry.contracts.topology import SERVICES, Role, SubjectKind, subscriptions_of
from keyferry.runtime.process.lifecycle import Service


def created(
    role: Role, folder: Path, monkeypatch: pytest.MonkeyPatch, database_url_file: Path | None = None
) -> Service:
    """Return the service, not connected; by default with a database that nobody reaches."""
    home = Home(folder)
    home.prepare()
    row = next(row for row in SERVICES_RUN if row.name == role.replace("-", "_"))
    database = database_url_file or folder / "database.url"
    if database_url_file is None:
        database.write_text("postgresql+psycopg://nobody:nothing@127.0.0.1:9/none")
    settings = {
        "KEYFERRY_NATS_URL": "nats://127.0.0.1:9",
        "KEYFERRY_DATABASE_URL_FILE": str(database),
        "KEYFERRY_SPOOL_DIR": str(folder / "spool"),
    }
    for name, value in (settings | {secret.setting: str(secret.path(home, 1)) for secret in row.secrets}).items():
        monkeypatch.setenv(name, value)
    module = importlib.import_module(f"services.{role.replace('-', '_')}.app")
    service: Service = module.create_app()
    return service


@pytest.mark.parametrize("role", SERVICES)
def test_a_service_subscribes_to_what_the_topology_says(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = created(role, tmp_path, monkeypatch).bus.subscriptions
    assert len(declared) == len({subject.template for subject in declared}), "a subject is subscribed to twice"
    assert {subject.template for subject in declared} == {subject.template for subject in subscriptions_of(role)}


@pytest.mark.parametrize("role", SERVICES)
def test_management_requests_are_framework_subscribers(
    role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = created(role, tmp_path, monkeypatch)
    subscribers = cast(list[Any], service.bus.broker.subscribers)
    subscribed = {subscriber.subject.broker_address for subscriber in subscribers}
    expected = {
        subject.pattern()
        for subject in subscriptions_of(role)
        if subject.kind is SubjectKind.REQUEST and not subject.fast_path
    }
    assert subscribed == expected
