"""A home that is lost comes back from a backup that was made while it worked."""

import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from deploy.embedded.home import Home
from tests.support.providers.openai_double import running_provider
from tests.support.repository.files import ROOT
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.vault.keyed_system import DOUBLED_PROVIDERS, KeyedSystem, under_load
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(600)

TENANT = "kept"
_ENDED = 40
_AFTER = 10
_SECONDS = 120.0
"""Far above what a busy machine takes."""


def keyferry(system_environment: dict[str, str], *arguments: str) -> str:
    """Run `keyferry` as a process, as backups need one."""
    done = subprocess.run(
        [sys.executable, "-m", "keyferry.cli.main", *arguments],
        cwd=ROOT,
        env=system_environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"keyferry {' '.join(arguments)} exits {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def changing_tokens(system: KeyferrySystem) -> Iterator[list[str]]:
    """Create client tokens one after the other while the block lasts; yield the growing list of their ids."""
    made: list[str] = []
    stop = threading.Event()
    token = Path(system.state["operator_token_file"]).read_text().strip()
    headers = {"authorization": f"Bearer {token}"}
    url = f"{system.state['console_url']}/api/v1/ops/tenants/{TENANT}/client-tokens"

    def create() -> None:
        with httpx.Client(headers=headers, timeout=60) as client:
            while not stop.is_set():
                response = client.post(url, json={"label": f"number {len(made)}"})
                response.raise_for_status()
                made.append(response.json()["token_id"])

    thread = threading.Thread(target=create, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        stop.set()
        thread.join(60)


def attempts(home: Path) -> dict[str, tuple[str, str, object]]:
    """Return operation, outcome and cost of each attempt of the load, by its id."""
    url = (home / "secrets" / "database" / "usage_ledger.url").read_text().replace("+psycopg", "")
    with psycopg.connect(url, connect_timeout=5) as connection:
        rows = connection.execute(
            "SELECT attempt_id, operation, outcome, cost_usd FROM usage_ledger.attempts WHERE operation LIKE 'load-%'"
        )
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


def test_a_lost_home_comes_back_from_a_backup_made_at_work(tmp_path: Path) -> None:
    home, key, backup = tmp_path / "home", tmp_path / "backup.key", tmp_path / "backup.age"
    tmp_path.chmod(0o711)
    with running_provider() as provider:
        settings = {"KEYFERRY_PROVIDER_URLS": ",".join(f"{name}={provider.base_url}" for name in DOUBLED_PROVIDERS)}
        with running_system(home, settings) as system:
            keyed = KeyedSystem(system, provider)
            keyed.wait_until_keys_are_tested()
            account = keyed.new_tenant(TENANT, keys="own")
            provider_key = provider.issue()
            keyed.add(TENANT, provider_key)
            account.wait_until_paid_with(provider_key)
            recipient = keyferry(system.environment, "backup", "make-key", str(key)).strip()
            with changing_tokens(system) as made, under_load(account, 20.0) as load:
                until("requests have ended", lambda: load.whole >= _ENDED, _SECONDS)
                ended = {request.script.name for request, pending in load.sent if pending.ending.done()}
                tokens_before = list(made)
                keyferry(system.environment, "backup", "create", str(backup), "--recipient", recipient)
                so_far = load.whole
                until("more requests have ended", lambda: load.whole >= so_far + _AFTER, _SECONDS)
            recorded: dict[str, tuple[str, str, object]] = {}

            def all_recorded() -> bool:
                recorded.update(attempts(home))
                return ended <= {operation for operation, _, _ in recorded.values()}

            until("what had ended is recorded", all_recorded, _SECONDS)
            account.close()
        shutil.rmtree(home)
        assert "complete: backup of" in keyferry(system.environment, "backup", "verify", str(backup), "--key", str(key))
        keyferry(system.environment, "restore", str(backup), "--key", str(key))
        assert not Home(home).unfinished_restore.exists()

        with running_system(home, settings) as system:
            keyed = KeyedSystem(system, provider)
            keyed.wait_until_keys_are_tested()

            def ledger_is_complete() -> bool:
                return ended <= {operation for operation, _, _ in attempts(home).values()}

            until("the ledger has what had ended before the backup", ledger_is_complete, _SECONDS)
            found = attempts(home)
            assert found.items() <= recorded.items(), "an attempt is another one than it was"
            assert max(Counter(operation for operation, _, _ in found.values()).values()) == 1
            keyed.cli("vault", "verify")
            account.wait_until_paid_with(provider_key)
            system.cli("ledger", "rebuild", "--check")

            def token_events() -> Counter[str]:
                return Counter(event["target"] for event in keyed.audit(TENANT) if event["action"] == "token.create")

            tokens = set(stored_tokens(home))
            until("every token's creation is in the audit log", lambda: set(token_events()) >= tokens, _SECONDS)
            assert set(token_events().values()) == {1}
            assert set(tokens_before) <= tokens
            assert "complete and unchanged" in system.cli("audit", "verify")
            restored = [event for event in keyed.audit("platform") if event["action"] == "installation.restore"]
            assert len(restored) == 1
            account.close()


def stored_tokens(home: Path) -> list[str]:
    url = (home / "secrets" / "database" / "tenant_directory.url").read_text().replace("+psycopg", "")
    with psycopg.connect(url, connect_timeout=5) as connection:
        rows = connection.execute("SELECT token_id FROM tenant_directory.client_tokens WHERE tenant = %s", (TENANT,))
        return [row[0] for row in rows]
