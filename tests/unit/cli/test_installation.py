"""How a command finds its installation."""

import json
from pathlib import Path

import pytest

from keyferry.cli.installation import OPERATOR_GRANT_KEY, OPERATOR_SEED, STARTING_FILE, STATE_FILE, find_home, locate
from keyferry.cli.problem import Problem

_STATE = {
    "nats_url": "nats://127.0.0.1:4333",
    "http_url": "http://127.0.0.1:8400",
    "operator_nkey_file": "/home/seed",
    "token_file": "/home/token",
    "processes": {"router": 1, "provider_worker-1": 2, "provider_worker-2": 3, "provider_worker-3": 4},
}


def _home(folder: Path, state: object = _STATE, file: Path = STATE_FILE) -> Path:
    home = folder / ".keyferry"
    (home / file).parent.mkdir(parents=True)
    (home / file).write_text(json.dumps(state))
    return home


def test_nearest_home_upwards_is_found(tmp_path: Path) -> None:
    home = _home(tmp_path)
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    found = locate({}, deep)
    assert (found.home, found.nats_url, found.nkey_file) == (home, _STATE["nats_url"], Path("/home/seed"))
    assert found.run_dir == home / "run"
    assert found.state is not None
    assert found.state.worker_slots == 3


def test_environment_names_another_home(tmp_path: Path) -> None:
    home = _home(tmp_path)
    assert locate({"KEYFERRY_HOME": str(home)}, Path("/")).home == home


def test_starting_system_is_found(tmp_path: Path) -> None:
    _home(tmp_path, {**_STATE, "processes": {}}, STARTING_FILE)
    state = locate({}, tmp_path).state
    assert state is not None
    assert state.worker_slots == 2


def test_remote_bus_needs_no_home(tmp_path: Path) -> None:
    environment = {"KEYFERRY_NATS_URL": "nats://bus:4222", "KEYFERRY_NATS_NKEY_FILE": "/run/secrets/operator"}
    found = locate(environment, tmp_path)
    assert (found.nats_url, found.nkey_file, found.home) == ("nats://bus:4222", Path("/run/secrets/operator"), None)
    with pytest.raises(Problem, match="home directory"):
        _ = found.run_dir


def test_remote_bus_uses_the_seed_of_a_local_home(tmp_path: Path) -> None:
    home = _home(tmp_path)
    environment = {"KEYFERRY_NATS_URL": "nats://bus:4222"}
    assert locate(environment, tmp_path).nkey_file is None
    (home / OPERATOR_SEED).parent.mkdir(parents=True)
    (home / OPERATOR_SEED).write_text("seed")
    assert locate(environment, tmp_path).nkey_file == home / OPERATOR_SEED


def test_missing_installation_is_reported_with_a_remedy(tmp_path: Path) -> None:
    assert find_home({}, tmp_path) is None
    with pytest.raises(Problem, match="no installation here") as none:
        locate({}, tmp_path)
    assert "make up" in none.value.remedy
    (tmp_path / ".keyferry").mkdir()
    with pytest.raises(Problem, match="nothing runs in") as stopped:
        locate({}, tmp_path)
    assert "make up" in stopped.value.remedy


def test_invalid_state_file_names_the_field(tmp_path: Path) -> None:
    _home(tmp_path, {"http_url": 3})
    with pytest.raises(Problem, match="nats_url: this is required"):
        locate({}, tmp_path)


def test_the_operators_grant_key_is_that_of_the_running_system_or_the_one_that_is_named(tmp_path: Path) -> None:
    key = tmp_path / "operator.key"
    key.write_text("a key")
    home = _home(tmp_path, {**_STATE, "operator_grant_key_file": str(key)})
    assert locate({}, tmp_path).grant_key_file == key
    named = {"KEYFERRY_GRANT_KEY_FILE": "/run/secrets/grant"}
    assert locate(named, tmp_path).grant_key_file == Path("/run/secrets/grant")
    remote = {"KEYFERRY_NATS_URL": "nats://bus:4222"}
    assert locate(remote, tmp_path).grant_key_file is None
    own = home / OPERATOR_GRANT_KEY
    own.parent.mkdir(parents=True)
    own.write_text("a key")
    assert locate(remote, tmp_path).grant_key_file == own
    assert locate(remote | named, tmp_path).grant_key_file == Path("/run/secrets/grant")


def test_a_system_of_an_earlier_version_has_no_grant_key(tmp_path: Path) -> None:
    _home(tmp_path)
    assert locate({}, tmp_path).grant_key_file is None
