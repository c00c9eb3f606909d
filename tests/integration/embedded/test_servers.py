"""The servers that every other test relies on: start, kill, freeze and restart."""

import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from deploy.embedded import nats, postgres
from deploy.embedded.ports import LOOPBACK
from deploy.embedded.process import RunAs, spawn
from keyferry.contracts.secret import Secret
from tests.support.servers.containers import NoContainerEngine
from tests.support.servers.nats import nats_server
from tests.support.servers.ports import find_free_port
from tests.support.servers.postgres import postgres_server, shared_postgres
from tests.support.system.process_tree import alive
from tests.support.waiting import until


def _connect(url: Secret) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(postgres.driver_url(url), autocommit=True, connect_timeout=5)


def test_committed_rows_survive_a_kill_of_postgresql() -> None:
    with postgres_server() as server:
        url = server.new_database()
        with _connect(url) as connection:
            connection.execute("CREATE TABLE paid (number int)")
            connection.execute("INSERT INTO paid SELECT generate_series(1, 500)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            _connect(url)
        server.restart()
        with _connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM paid").fetchone() == (500,)


def test_postgresql_requires_the_password_and_syncs_commits() -> None:
    server = shared_postgres()
    with _connect(server.url()) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        assert connection.execute("SHOW password_encryption").fetchone() == ("scram-sha-256",)
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    wrong = make_url(server.url().reveal()).set(password="guessed").render_as_string(hide_password=False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        _connect(Secret(wrong))


def test_databases_of_the_shared_server_are_isolated() -> None:
    first, second = shared_postgres().new_database(), shared_postgres().new_database()
    with _connect(first) as connection:
        connection.execute("CREATE TABLE only_here ()")
    with _connect(second) as connection:
        assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)


class _Dropping(postgres.Cluster):
    """A cluster as on a system without user namespaces; an ordinary user has no privileges to drop."""

    _run_as = RunAs(user=65534) if os.geteuid() == 0 else RunAs()


def test_a_cluster_also_runs_as_another_user() -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o711)
        cluster, password, port = _Dropping(home), Secret("p"), find_free_port()
        cluster.initialise(password)
        spec = cluster.make_server_spec(port)
        child = spawn(spec)
        try:
            url = postgres.url(port, postgres.ADMIN, password, "postgres")
            with until("an answer", lambda: _answer(url)) as connection:
                assert connection.info.server_version >= postgres.MINIMUM_MAJOR * 10_000
            assert Path(f"/proc/{child.pid}").stat().st_uid != 0
        finally:
            child.send_signal(spec.stop_signal)
            assert child.wait() == 0


def _answer(url: Secret) -> psycopg.Connection[tuple[object, ...]] | None:
    try:
        return _connect(url)
    except psycopg.OperationalError:
        return None


def test_binaries_that_the_other_user_cannot_read_are_copied(tmp_path: Path) -> None:
    """The wheel's libraries are found by relative path, so they must be copied too."""
    found = postgres.find_install()
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert found.base is not None, "the embedded PostgreSQL is not installed"
    for part in found.bundle:
        shutil.copytree(found.base / part, closed / part, symlinks=True)
    unreadable = replace(found, base=closed, bin_dir=closed / found.bin_dir.relative_to(found.base))
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        home.chmod(0o711)
        cluster = _Dropping(home, unreadable)
        cluster.initialise(Secret("p"))
        assert cluster.initialised
        ran_from = Path(cluster.make_server_spec(1).argv[0])
        assert ran_from.is_relative_to(home if os.geteuid() == 0 else closed)


def test_a_home_that_the_other_user_cannot_enter_is_named(tmp_path: Path) -> None:
    class Dropping(postgres.Cluster):
        _run_as = RunAs(user=65534)

    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(postgres.PostgresUnavailable, match=f"cannot enter {closed}.*KEYFERRY_HOME"):
        Dropping(closed).make_server_spec(1)


def test_nats_keeps_its_port_after_a_kill() -> None:
    with nats_server() as server:
        port = int(server.url.rpartition(":")[2])
        assert server.url == f"nats://{LOOPBACK}:{port}"
        assert nats.accepts_clients(port)
        server.kill()
        assert not nats.accepts_clients(port)
        server.restart()
        assert nats.accepts_clients(port)


def test_a_frozen_nats_answers_again_once_resumed() -> None:
    with nats_server() as server:
        port = int(server.url.rpartition(":")[2])
        server.pause()
        assert not nats.accepts_clients(port, timeout_seconds=0.2)
        server.resume()
        until("an answer", lambda: nats.accepts_clients(port))


def test_an_invalid_nats_configuration_is_reported_with_its_reason() -> None:
    with pytest.raises(nats.NatsUnavailable, match="no_such_setting"), nats_server("no_such_setting: 1"):
        pass


def test_containers_fail_clearly_where_no_engine_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEST_BACKEND", "containers")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    with pytest.raises(NoContainerEngine, match="unset the variable"), nats_server():
        pass
    with pytest.raises(NoContainerEngine, match="unset the variable"), postgres_server():
        pass


def test_an_unknown_backend_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_BACKEND", "podman")
    with pytest.raises(ValueError, match="use `embedded` or `containers`"), nats_server():
        pass


def test_a_lock_file_of_a_zombie_or_another_program_is_removed(tmp_path: Path) -> None:
    cluster = postgres.Cluster(tmp_path)
    cluster.initialise(Secret("p"))
    lock = cluster.data_dir / "postmaster.pid"
    zombie = subprocess.Popen(["true"])
    until("it is a zombie", lambda: not alive(zombie.pid))
    for pid in (zombie.pid, os.getpid()):
        lock.write_text(f"{pid}\n{cluster.data_dir}\n")
        cluster.make_server_spec(1)
        assert not lock.exists()
    zombie.wait()


def test_the_lock_file_of_a_running_postgresql_is_kept(tmp_path: Path) -> None:
    cluster, password, port = postgres.Cluster(tmp_path), Secret("p"), find_free_port()
    cluster.initialise(password)
    child = spawn(cluster.make_server_spec(port))
    try:
        until("an answer", lambda: _answer(postgres.url(port, postgres.ADMIN, password, "postgres"))).close()
        assert cluster.make_server_spec(port).stop_signal is signal.SIGINT
        assert (cluster.data_dir / "postmaster.pid").exists()
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


def test_data_of_another_major_are_reported(tmp_path: Path) -> None:
    (tmp_path / "pg9").mkdir()
    (tmp_path / "pg9" / "PG_VERSION").write_text("9\n")
    with pytest.raises(postgres.PostgresUnavailable, match=r"pg9 holds data of another PostgreSQL.*move pg9 away"):
        postgres.Cluster(tmp_path).initialise(Secret("p"))
