"""What a container may do: its user, its capabilities, its file system, its ports; and what an image contains."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.containers.engine import Engine
from tests.containers.images import Images
from tests.containers.project import IMAGE, ComposeProject
from tests.contract.deploy.composition import PROCESSES
from tests.support.waiting import until

SERVICE_UID = "10001"
POSTGRES_UID = "999"
OWN_MEGABYTES = 400
"""An upper limit of what the image of Keyferry adds to Python's."""
_PRINT_SECRETS = """
import pathlib
for path in pathlib.Path("/var/lib/keyferry/secrets").rglob("*"):
    if path.is_file() and path.suffix != ".pub":
        print(path.read_text())
"""


def process_status(container: dict[str, Any]) -> dict[str, list[str]]:
    """Return what the kernel says of a container's first process, by the names in proc(5)."""
    lines = Path(f"/proc/{container['State']['Pid']}/status").read_text().splitlines()
    return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}


@pytest.mark.parametrize("service", [*PROCESSES, "nats", "postgres"])
def test_a_process_has_a_user_of_its_own_and_no_capabilities(project: ComposeProject, service: str) -> None:
    assert project.engine.is_local, "the processes of another machine's engine cannot be examined"
    container = project.container(service)
    status = process_status(container)
    assert set(status["Uid"]) == set(status["Gid"]) == {POSTGRES_UID if service == "postgres" else SERVICE_UID}
    assert {name: int(status[name][0], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {
        "CapEff": 0,
        "CapPrm": 0,
        "CapBnd": 0,
        "CapAmb": 0,
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    assert container["HostConfig"]["ReadonlyRootfs"] is True


def test_only_volumes_and_tmp_can_be_written(project: ComposeProject) -> None:
    attempt = "import pathlib; pathlib.Path('{}').write_text('x')"
    for path, written in (("/tmp/x", True), ("/app/x", False), ("/run/keyferry/x", False), ("/etc/x", False)):
        command = attempt.format(path)
        if written:
            project.exec("router", "python", "-c", command)
            continue
        with pytest.raises(AssertionError, match="Read-only file system"):
            project.exec("router", "python", "-c", command)


def test_ports_are_published_on_loopback_only(project: ComposeProject) -> None:
    bindings = {
        (container["Config"]["Labels"]["com.docker.compose.service"], port, binding["HostIp"])
        for container in project.containers()
        for port, bound in (container["NetworkSettings"]["Ports"] or {}).items()
        for binding in bound or []
    }
    loopback = "127.0.0.1"
    of_the_tests = {("provider", "9000/tcp", loopback), ("postgres", "5432/tcp", loopback)}
    faces = {("ingress", "8400/tcp", loopback), ("console", "8401/tcp", loopback), ("console", "8402/tcp", loopback)}
    assert bindings == faces | of_the_tests


def test_every_container_with_a_health_check_becomes_healthy(project: ComposeProject) -> None:
    def unhealthy() -> dict[str, str]:
        states = {c["Name"]: c["State"]["Health"]["Status"] for c in project.containers() if "Health" in c["State"]}
        return {name: state for name, state in states.items() if state != "healthy"}

    checked = {
        c["Config"]["Labels"]["com.docker.compose.service"] for c in project.containers() if "Health" in c["State"]
    }
    assert {*PROCESSES, "postgres"} <= checked
    until("every container is healthy", lambda: not unhealthy(), 120)


def test_no_secret_is_in_an_image_a_setting_or_a_log(project: ComposeProject) -> None:
    """Every line of every file in the volume with all secrets is searched for, but short ones, which are no secrets."""
    listed = project.compose(
        "run", "--rm", "--no-TTY", "--no-deps", "--entrypoint", "python", "provision", "-c", _PRINT_SECRETS
    )
    secrets = set(re.findall(r"[\w+/=.~-]{24,}", listed))
    assert len(secrets) > 30
    engine = project.engine
    shown = {
        "images": engine.docker("history", "--no-trunc", IMAGE) + engine.docker("image", "inspect", IMAGE),
        "settings": json.dumps(project.containers()),
        "logs": project.compose("logs", "--no-color"),
    }
    found = {place: [s for s in secrets if s in text] for place, text in shown.items()}
    assert {place: len(known) for place, known in found.items()} == dict.fromkeys(shown, 0)


def test_the_images_are_of_a_known_size(engine: Engine, images: Images, project: ComposeProject) -> None:
    sizes = {name: engine.image_megabytes(name) for name in (images.python, IMAGE, images.nats, images.postgres)}
    for name, megabytes in sizes.items():
        print(f"{name}: {megabytes:.0f} MB")
    assert sizes[IMAGE] - sizes[images.python] < OWN_MEGABYTES
