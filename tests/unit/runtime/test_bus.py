"""The state and settings of a bus that has not been connected."""

from pathlib import Path

import pytest

from keyferry.contracts.topology import Role
from keyferry.runtime.bus.connection import Bus
from keyferry.runtime.process.settings import ServiceSettings, SettingsError


def test_a_bus_is_not_connected_before_it_connects() -> None:
    bus = Bus(Role.ROUTER, ServiceSettings(nats_url="nats://127.0.0.1:9"))
    assert bus.connected is False
    assert bus.in_flight == 0


def test_each_process_has_a_name_of_its_own_and_a_worker_its_slot() -> None:
    settings = ServiceSettings(nats_url="nats://127.0.0.1:9", slot=2)
    first, second = Bus(Role.PROVIDER_WORKER, settings), Bus(Role.PROVIDER_WORKER, settings)
    assert first.user == second.user == "provider-worker-2"
    assert first.instance_id != second.instance_id
    assert first.inbox_prefix == "_INBOX_provider-worker-2"


def test_two_kinds_of_credentials_are_refused_without_repeating_them(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.write_text("SU")
    with pytest.raises(SettingsError, match="use only one") as refused:
        Bus(Role.ROUTER, ServiceSettings(nats_url="nats://user:hush@127.0.0.1:9", nats_nkey_file=seed))
    assert "hush" not in str(refused.value)
