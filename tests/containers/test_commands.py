"""The README's requests and the guide's commands, against the system in containers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.project import ComposeProject
from tests.support.repository.documents import PYTHON, SHELL, Document
from tests.support.waiting import until

README = Document("README.md")


@pytest.fixture
def folder(project: ComposeProject, tmp_path: Path) -> Path:
    """A directory with the token where the README's commands look for it."""
    token = tmp_path / ".keyferry" / "secrets" / "demo-client-token"
    token.parent.mkdir(parents=True)
    token.write_text(project.token() + "\n")
    until("the system is ready", project.is_ready, 60)
    return tmp_path


def test_a_command_of_compose_that_fails_is_noticed(project: ComposeProject) -> None:
    with pytest.raises(AssertionError, match="no such service: nothing"):
        project.compose("up", "--detach", "nothing")


def test_the_first_chat_shows_its_route_its_cost_and_its_row(project: ComposeProject) -> None:
    first = project.container("first-chat")
    log = project.engine.docker("logs", first["Id"])
    assert "Hello from Keyferry" in log
    assert all(word in log for word in ("Route", "chosen: echo", "cost", "ledger", "recorded"))
    assert project.container("first-chat")["State"]["ExitCode"] == 0


def test_the_requests_of_the_readme_are_answered(project: ComposeProject, folder: Path) -> None:
    blocks = [b for b in README.blocks if "127.0.0.1:8400" in b.text]
    assert {b.language for b in blocks} == {"sh", "python"}
    for block in blocks:
        text = block.text.replace("http://127.0.0.1:8400", project.http_url)
        program = [sys.executable, "-c"] if block.language in PYTHON else ["sh", "-ec"]
        done = subprocess.run(
            [*program, text], cwd=folder, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
        )
        assert done.returncode == 0, done.stderr
        assert "Hello" in done.stdout


def test_the_commands_of_the_readme_work_in_their_container(project: ComposeProject) -> None:
    [block] = [b for b in README.blocks if b.language in SHELL and "keyferry chat" in b.text]
    lines = [line for line in block.text.splitlines() if line.startswith("keyferry ")]
    assert lines == ['keyferry chat "Say hello" --explain', "keyferry usage"]
    assert "chosen: echo" in project.cli("chat", "Say hello", "--explain")
    assert "requests" in project.cli("usage")
    status = project.cli("status")
    assert all(name in status for name in ("router", "ingress", "provider-worker")), status


def test_an_internal_service_gets_its_user_in_nats(project: ComposeProject) -> None:
    project.cli("services", "create", "crm", "--tenant", "demo", "--output", "/run/keyferry/crm.credentials.json")
    assert "2 programs may connect" in project.compose("run", "--rm", "--no-TTY", "users")
    project.compose("kill", "--signal", "HUP", "nats")
    reloaded = "Reloaded server configuration"
    until("NATS has read its configuration again", lambda: reloaded in project.compose("logs", "--no-color", "nats"))
    until("the system is ready", project.is_ready, 60)
    assert "chosen: echo" in project.cli("chat", "Say hello", "--explain")


def test_the_console_serves_its_page(project: ComposeProject) -> None:
    page = project.exec("ingress", "python", "-c", _FETCH_PAGE)
    assert "<!doctype html>" in page.lower()


_FETCH_PAGE = "import urllib.request as r; print(r.urlopen('http://console:8401/', timeout=10).read().decode())"
