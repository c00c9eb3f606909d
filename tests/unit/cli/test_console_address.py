"""Where `keyferry login` finds the console."""

import json
from pathlib import Path

import pytest

from keyferry.cli.console_http import console_url
from keyferry.cli.problem import Problem


def installation(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with an installation whose launcher has described it, with `more` besides."""
    state = {"nats_url": "nats://127.0.0.1:1", "http_url": "http://127.0.0.1:2", "operator_nkey_file": "seed"}
    (home / "run").mkdir(parents=True)
    (home / "run" / "state.json").write_text(json.dumps(state | {"token_file": "token"} | more))
    return {"KEYFERRY_HOME": str(home)}


def test_the_console_of_the_installation_is_the_one_that_its_launcher_names(tmp_path: Path) -> None:
    environment = installation(tmp_path / "home", console_url="http://127.0.0.1:8401")
    assert console_url(None, environment) == "http://127.0.0.1:8401"


def test_an_address_that_is_named_comes_first(tmp_path: Path) -> None:
    environment = installation(tmp_path / "home", console_url="http://127.0.0.1:8401")
    named = environment | {"KEYFERRY_URL": "https://console.example.com/"}
    assert console_url(None, named) == "https://console.example.com"
    assert console_url("https://other.example.com", named) == "https://other.example.com"


def test_an_installation_that_does_not_run_is_reported(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with pytest.raises(Problem, match="nothing runs"):
        console_url(None, {"KEYFERRY_HOME": str(tmp_path / "home")})


def test_a_launcher_of_an_earlier_version_names_no_console(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="unknown where to sign in"):
        console_url(None, installation(tmp_path / "home"))
