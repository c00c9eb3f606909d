"""A former build is replaced by this one, process by process and under load, with both on one bus: no request fails."""

import random
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from deploy.postgres.migrate import migrate
from tests.cluster.test_faults import ON_PATH
from tests.support.clients.steady_load import Request, SteadyLoad, client_outcomes
from tests.support.cluster import faults
from tests.support.cluster.processes import upgraded
from tests.support.cluster.system import MODEL, ClusterSystem, running_cluster
from tests.support.ledger.accounting import wait_until_accounted
from tests.support.providers.scripted_answers import Script
from tests.support.random_seed import random_seed
from tests.support.repository.files import ROOT

_FIRST_OF_THIS_BUILD = "deploy/nats/cluster.py"
"""The file with which Keyferry began to run on several servers: the build before it is the former one."""


def former_build(directory: Path) -> Path:
    """Write the code of the former build into a directory, from the history. Return the directory."""
    added = _git("log", "--diff-filter=A", "--format=%H", "--", _FIRST_OF_THIS_BUILD).split()
    assert added, "the history does not reach back to the former build: fetch all of it"
    archive, root = directory / "former.tar", directory / "former"
    _git("archive", f"--output={archive}", f"{added[-1]}^", "services", "shared", "deploy", "pyproject.toml")
    with tarfile.open(archive) as files:
        files.extractall(root, filter="data")
    return root


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def short_answer(name: str, numbers: random.Random) -> Request:
    return Request(Script(name, 10, pause_seconds=numbers.uniform(0, 0.1)), stream=numbers.random() < 0.7)


def replace_all(system: ClusterSystem) -> None:
    """Migrate the tables while the former build uses them, then replace one process after the other."""
    migrate(system.postgres.admin_url, system.home.database_secrets)
    for name, former in list(system.processes.items()):
        former.stop()
        system.processes[name] = upgraded(former, system.nats.urls)
        system.processes[name].start()
        system.wait_until_ready(name)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_former_build_is_replaced_under_load_without_a_failed_request(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path.parent):
        path.chmod(0o711)  # PostgreSQL may run as another user
    root = former_build(tmp_path)
    with running_cluster(tmp_path, counts=ON_PATH, root=root) as system:
        with SteadyLoad(system.clients, MODEL, "upgrade", 10.0, short_answer, random_seed()) as load:
            faults.wait_until_steady(load)
            replace_all(system)
            faults.wait_until_steady(load)
        outcomes = client_outcomes(load)
        print(f"{len(load.sent)} requests while the former build was replaced: {dict(outcomes)}")
        wait_until_accounted(load.endings(), system.upstream, system.ledger)
        assert outcomes == Counter(whole=len(load.sent)), [
            (name, ending.status, ending.error) for name, ending in load.endings().items() if not ending.whole
        ]
