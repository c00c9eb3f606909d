"""The smoke test of a system whose demo tenant is not what it was."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.embedded import smoke_test
from deploy.embedded.errors import LaunchFailed
from deploy.embedded.smoke_test import DEMO, run_smoke_test
from keyferry.contracts.tenancy import Tenant, Tenants, Tier
from keyferry.contracts.topology import TENANT_LIST

DELETED = Tenant(
    tenant=DEMO, name="deleted", tier=Tier.STARTER, suspended=True, deleted_at=datetime(2030, 1, 2, tzinfo=UTC)
)


def system_with(demo: Tenant, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the smoke test find a system with this tenant; return the file of the tenant's token."""
    token_file = home / "demo.token"
    token_file.write_text("kf_test")

    async def ask(subject: object, _: object) -> Tenants:
        assert subject is TENANT_LIST, "nothing else is asked for"
        return Tenants(tenants=[demo])

    @asynccontextmanager
    async def connected(_: object) -> AsyncIterator[SimpleNamespace]:
        yield SimpleNamespace(ask=ask)

    state = SimpleNamespace(token_file=token_file)
    monkeypatch.setattr(smoke_test, "locate", lambda _: SimpleNamespace(state=state))
    monkeypatch.setattr(smoke_test, "operator", connected)
    return token_file


def test_a_system_starts_whose_demo_tenant_was_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deletion is for good, so nothing that the launcher would ask for could make it start again."""
    token_file = system_with(DELETED, tmp_path, monkeypatch)
    run_smoke_test(tmp_path)
    assert "the tenant demo was deleted" in capsys.readouterr().out
    assert not token_file.exists(), "it opens nothing any more, and the launcher would show it"


def test_a_suspended_demo_tenant_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suspended = DELETED.model_copy(update={"deleted_at": None})
    system_with(suspended, tmp_path, monkeypatch)
    with pytest.raises(LaunchFailed, match="suspended"):
        run_smoke_test(tmp_path)
