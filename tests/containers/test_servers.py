"""The suite's own servers in containers: tests that kill, freeze and restart NATS and PostgreSQL, on this engine."""

import os
import subprocess
import sys

from tests.containers.engine import Engine
from tests.containers.images import Images
from tests.support.repository.files import ROOT

SELECTED = (
    "tests/integration/runtime/test_database.py",
    "tests/integration/runtime/test_concurrent_requests.py",
    "tests/integration/postgres/test_migrate.py",
)


def test_the_suite_runs_with_its_servers_in_containers(engine: Engine, images: Images) -> None:
    environment = {
        **engine.environment,
        "TEST_BACKEND": "containers",
        "KEYFERRY_TEST_NATS_IMAGE": images.nats,
        "KEYFERRY_TEST_POSTGRES_IMAGE": images.postgres,
        # Its own image cannot be had without a registry; each test removes its containers itself.
        "TESTCONTAINERS_RYUK_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", "-m", "not long", *SELECTED],
        cwd=ROOT,
        env={name: value for name, value in environment.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    print(done.stdout[-2000:])
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert os.environ.get("TEST_BACKEND") != "containers"
    left = engine.docker(
        "ps", "--all", "--quiet", "--filter", f"ancestor={images.postgres}", "--filter", "label=org.testcontainers"
    )
    assert not left
