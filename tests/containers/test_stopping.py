"""`docker compose stop` lets every process end by itself, and a start finds all data again."""

from pathlib import Path

from tests.containers.project import ComposeProject
from tests.contract.deploy.composition import PROCESSES
from tests.support.waiting import until

_STOP_SECONDS = 120.0


def test_every_process_ends_cleanly_and_the_data_stay(project: ComposeProject, tmp_path: Path) -> None:
    until("the system is ready", project.is_ready, 60)
    asked = project.cli("chat", "Say hello", "--explain")
    request = next(word.strip("()") for word in asked.split() if word.startswith("req_"))
    token = project.token()
    project.compose("stop", timeout_seconds=_STOP_SECONDS)
    exits = {
        found["Config"]["Labels"]["com.docker.compose.service"]: found["State"]["ExitCode"]
        for found in project.containers()
    }
    assert {name: exits[name] for name in (*PROCESSES, "nats", "postgres")} == dict.fromkeys(
        (*PROCESSES, "nats", "postgres"), 0
    )
    project.compose("up", "--detach", timeout_seconds=_STOP_SECONDS)
    until("the system is ready again", project.is_ready, 60)
    assert "completed" in project.cli("route", "explain", request, "--tenant", "demo")
    assert project.token() == token
