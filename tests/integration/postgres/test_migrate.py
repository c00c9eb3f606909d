"""Schemas, roles and migrations on a real PostgreSQL."""

import stat
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.postgres import migrate, roles
from keyferry.contracts.secret import Secret
from keyferry.runtime.database.schema_check import SchemaMismatch, SchemaState, require_current_schema
from tests.support.servers.postgres import shared_postgres

SERVICES = ("alpha", "beta")


@pytest.fixture
def admin_url() -> Secret:
    return shared_postgres(synced=False).new_database()


@pytest.fixture
def services_root(tmp_path: Path) -> Path:
    root = tmp_path / "100% services"
    for service in SERVICES:
        _migration(root, service, "0001", "CREATE TABLE things (id int PRIMARY KEY)")
    return root


def _migration(root: Path, service: str, revision: str, statement: str) -> None:
    versions = migrate.versions_dir(service, root)
    versions.mkdir(parents=True, exist_ok=True)
    previous = f"{int(revision) - 1:04}" if int(revision) > 1 else None
    source = f"""
        from alembic import op

        revision = {revision!r}
        down_revision = {previous!r}


        def upgrade() -> None:
            op.execute({statement!r})
        """
    (versions / f"{revision}_step.py").write_text(textwrap.dedent(source))


def _run(admin_url: Secret, secrets_dir: Path, root: Path) -> dict[str, Path]:
    return migrate.migrate(admin_url, secrets_dir, services=SERVICES, services_root=root)


def _rows(url: Secret, query: str) -> list[tuple[object, ...]]:
    with roles.connect(make_url(url.reveal())) as connection:
        return connection.execute(query.encode()).fetchall()


def test_each_service_owns_its_tables_and_sees_no_other(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    files = _run(admin_url, tmp_path / "secrets", services_root)
    alpha = Secret(files["alpha"].read_text())
    assert _rows(alpha, "SELECT count(*) FROM things") == [(0,)]
    assert _rows(alpha, "SELECT current_schema()") == [("alpha",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _rows(alpha, "SELECT * FROM beta.things")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        _rows(alpha, "CREATE TABLE public.stray ()")
    owners = "SELECT schemaname, tableowner FROM pg_tables WHERE tablename = 'things' ORDER BY 1"
    database = make_url(admin_url.reveal()).database
    assert _rows(admin_url, owners) == [("alpha", f"{database}_alpha"), ("beta", f"{database}_beta")]
    rights = f"SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = '{database}_alpha'"
    assert _rows(admin_url, rights) == [(False, False, False)]


def test_url_files_are_for_their_owner_only(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    secrets_dir = tmp_path / "secrets"
    files = _run(admin_url, secrets_dir, services_root)
    assert stat.S_IMODE(secrets_dir.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in files.values()} == {0o600}
    assert sorted(path.name for path in secrets_dir.iterdir()) == ["alpha.url", "beta.url"]


def test_a_second_run_changes_nothing(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    files = _run(admin_url, tmp_path, services_root)
    before = {name: file.read_text() for name, file in files.items()}
    _rows(Secret(before["alpha"]), "INSERT INTO things VALUES (7) RETURNING id")
    logged: list[str] = []
    migrate.migrate(admin_url, tmp_path, services=SERVICES, services_root=services_root, log=logged.append)
    assert logged == []
    assert {name: file.read_text() for name, file in files.items()} == before
    assert _rows(Secret(before["alpha"]), "SELECT id FROM things") == [(7,)]


@pytest.mark.parametrize("lost", ["file", "password"])
def test_a_lost_password_is_replaced(admin_url: Secret, services_root: Path, tmp_path: Path, lost: str) -> None:
    file = _run(admin_url, tmp_path, services_root)["alpha"]
    if lost == "file":
        file.unlink()
    else:
        role = make_url(file.read_text()).username
        with roles.connect(make_url(admin_url.reveal())) as connection:
            connection.execute(f'ALTER ROLE "{role}" PASSWORD NULL'.encode())
    again = _run(admin_url, tmp_path, services_root)["alpha"]
    assert _rows(Secret(again.read_text()), "SELECT 1") == [(1,)]


def test_status_is_behind_current_ahead_or_unknown(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    def state() -> dict[str, SchemaState]:
        return migrate.read_status(admin_url, SERVICES, services_root)

    assert state() == {"alpha": SchemaState.BEHIND, "beta": SchemaState.BEHIND}
    _run(admin_url, tmp_path, services_root)
    assert state() == {"alpha": SchemaState.CURRENT, "beta": SchemaState.CURRENT}
    _migration(services_root, "alpha", "0002", "ALTER TABLE things ADD COLUMN name text")
    assert state() == {"alpha": SchemaState.BEHIND, "beta": SchemaState.CURRENT}
    _run(admin_url, tmp_path, services_root)
    (migrate.versions_dir("alpha", services_root) / "0002_step.py").unlink()
    assert state() == {"alpha": SchemaState.AHEAD, "beta": SchemaState.CURRENT}
    with roles.connect(make_url(admin_url.reveal())) as connection:
        connection.execute("UPDATE beta.schema_version SET version_num = 'a1b2c3'")
    assert state() == {"alpha": SchemaState.AHEAD, "beta": SchemaState.UNKNOWN}


def test_tables_of_other_migrations_with_the_same_numbers_are_refused(
    admin_url: Secret, services_root: Path, tmp_path: Path
) -> None:
    files = _run(admin_url, tmp_path, services_root)
    _migration(services_root, "beta", "0001", "CREATE TABLE things (id int, name text)")
    _migration(services_root, "alpha", "0002", "CREATE TABLE more ()")
    assert migrate.read_status(admin_url, SERVICES, services_root)["beta"] is SchemaState.DIFFERENT
    with pytest.raises(SchemaMismatch, match=r"'beta' is at 0001, but was made by other migrations .* start anew"):
        _run(admin_url, tmp_path, services_root)
    assert _rows(admin_url, "SELECT to_regclass('alpha.more') IS NULL") == [(True,)], "nothing was changed"
    _migration(services_root, "beta", "0002", "CREATE TABLE more ()")
    assert migrate.read_status(admin_url, SERVICES, services_root)["beta"] is SchemaState.DIFFERENT
    assert files.keys() == {"alpha", "beta"}


async def test_tables_of_a_build_that_recorded_no_digest_are_refused(
    admin_url: Secret, services_root: Path, tmp_path: Path
) -> None:
    file = _run(admin_url, tmp_path, services_root)["alpha"]
    with roles.connect(make_url(admin_url.reveal())) as connection:
        connection.execute("COMMENT ON TABLE alpha.schema_version IS NULL")
    engine = create_async_engine(file.read_text())
    try:
        with pytest.raises(SchemaMismatch, match="was made by other migrations"):
            await require_current_schema(engine, "alpha", migrate.versions_dir("alpha", services_root))
    finally:
        await engine.dispose()
    with pytest.raises(SchemaMismatch, match="was made by other migrations"):
        _run(admin_url, tmp_path, services_root)


@pytest.mark.parametrize("content", [b"garbage", b"\xff", b"", b"postgresql+psycopg://u:hunter2@127.0.0.1:1/x"])
def test_the_command_shows_no_traceback(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "admin.url"
    file.write_bytes(content)
    assert migrate.main(["--admin-url-file", str(file), "--check"]) == 1
    printed = capsys.readouterr().err
    assert "admin.url" in printed or "127.0.0.1" in printed
    assert "hunter2" not in printed
    assert migrate.main(["--admin-url-file", str(tmp_path / "nowhere")]) == 1
    assert "nowhere: No such file" in capsys.readouterr().err


def test_newer_tables_are_not_migrated(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    _migration(services_root, "beta", "0002", "ALTER TABLE things ADD COLUMN name text")
    _run(admin_url, tmp_path, services_root)
    (migrate.versions_dir("beta", services_root) / "0002_step.py").unlink()
    _migration(services_root, "alpha", "0002", "DROP TABLE things")
    with pytest.raises(SchemaMismatch, match=r"'beta' is at 0002, newer than this build \(0001\): use a newer build"):
        _run(admin_url, tmp_path, services_root)
    assert _rows(admin_url, "SELECT count(*) FROM alpha.things") == [(0,)]


def test_a_failing_migration_is_rolled_back_and_earlier_ones_are_kept(
    admin_url: Secret, services_root: Path, tmp_path: Path
) -> None:
    _migration(services_root, "alpha", "0002", "CREATE TABLE more ()")
    _migration(services_root, "alpha", "0003", "CREATE TABLE half (); SELECT 1 / 0")
    with pytest.raises(
        migrate.MigrationFailed, match="of alpha could not be migrated to 0003: division by zero"
    ) as failed:
        _run(admin_url, tmp_path, services_root)
    assert "remove the cause and run this again" in str(failed.value)
    assert _rows(admin_url, "SELECT to_regclass('alpha.more') IS NULL, to_regclass('alpha.half') IS NULL") == [
        (False, True)
    ]
    assert _rows(admin_url, "SELECT version_num FROM alpha.schema_version") == [("0002",)]
    _migration(services_root, "alpha", "0003", "CREATE TABLE half ()")
    _run(admin_url, tmp_path, services_root)
    assert migrate.read_status(admin_url, SERVICES, services_root)["alpha"] is SchemaState.CURRENT


def test_concurrent_migrations_do_not_race(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    _migration(services_root, "alpha", "0002", "DO $$ BEGIN PERFORM pg_sleep(0.2); CREATE TABLE slow (); END $$")
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(_run, admin_url, tmp_path / "secrets", services_root) for _ in range(4)]
        for run in runs:
            run.result()
    assert migrate.read_status(admin_url, SERVICES, services_root)["alpha"] is SchemaState.CURRENT


async def test_a_service_starts_only_on_its_own_tables(admin_url: Secret, services_root: Path, tmp_path: Path) -> None:
    versions = migrate.versions_dir("alpha", services_root)
    engine = create_async_engine(admin_url.reveal())
    try:
        with pytest.raises(SchemaMismatch, match="'alpha' is not set up, this build needs 0001: run `make up`"):
            await require_current_schema(engine, "alpha", versions)
        file = _run(admin_url, tmp_path, services_root)["alpha"]
        await require_current_schema(engine, "alpha", versions)
        _migration(services_root, "alpha", "0002", "SELECT 1")
        with pytest.raises(SchemaMismatch, match="'alpha' is at 0001, this build needs 0002: run `make up`"):
            await require_current_schema(engine, "alpha", versions)
        own = create_async_engine(file.read_text())
        try:
            (versions / "0002_step.py").unlink()
            await require_current_schema(own, "alpha", versions)
        finally:
            await own.dispose()
    finally:
        await engine.dispose()


def test_a_build_without_migrations_is_reported(admin_url: Secret, tmp_path: Path) -> None:
    with pytest.raises(SchemaMismatch, match="this build is incomplete"):
        _run(admin_url, tmp_path, tmp_path / "nowhere")


def test_the_command_checks_without_changing(
    admin_url: Secret,
    services_root: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for service in roles.SERVICES_WITH_TABLES:
        _migration(services_root, service, "0001", "CREATE TABLE things ()")
    file = tmp_path / "admin.url"
    arguments = ["--admin-url-file", str(file), "--services-root", str(services_root)]
    roles.write_secret(file, admin_url.reveal())
    assert migrate.main([*arguments, "--check"]) == 1
    assert "run `make up` (it migrates)" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("*.url")) == ["admin.url"]
    assert migrate.main(arguments) == 0
    assert migrate.main([*arguments, "--check"]) == 0
    output = capsys.readouterr()
    assert "all tables are current" in output.out
    assert str(make_url(admin_url.reveal()).password) not in output.out + output.err
