"""A new KEK is taken up for thousands of tenants under load, while the vault is killed over and over.

The vault is the only process that can re-encrypt: a request that needs a key while it is down waits for its successor.
In the short version leases are short, so that nearly every request needs one while the vault is down. The long one is the claim:
ten thousand tenants, 200 requests a second of a thousand of them, leases as the product gives them, five kills.
"""

import base64
import json
import os
import random
import secrets
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.support.clients.steady_load import SteadyLoad, client_outcomes
from tests.support.clients.stream_clients import stream_clients
from tests.support.providers.openai_double import CHAT_MODEL, key_of
from tests.support.providers.scripted_answers import is_script, script_of
from tests.support.random_seed import random_seed
from tests.support.system.command_line import run_command
from tests.support.vault.keyed_system import KeyedSystem, running_keyed_system, vault_url
from tests.support.vault.many_tenants import RequestsInTurn, open_accounts, store_keys
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(1800)

MAX_ATTEMPTS = 10_000
"""A worker's limit: a request that waits for the vault is an attempt under way, and the worker refuses more than this."""
SETTLE_SECONDS = 300.0
ROTATE = ("vault", "rotate-kek", "--no-wait", "--json")


@dataclass(frozen=True)
class Size:
    """How many tenants have keys, how many of them send how many requests a second, how often the vault is killed.

    `cold_share` is the share of requests that need a lease of their own, at least: without any, nothing would be shown. Requests
    of a tenant that wait for the vault's successor, which takes long to start on a slow machine, share one.
    """

    tenants: int
    asking: int
    rate_per_second: float
    kills: int
    lease_seconds: int
    cold_share: float


SHORT = Size(tenants=500, asking=30, rate_per_second=10, kills=1, lease_seconds=2, cold_share=0.3)
LONG = Size(tenants=10_000, asking=1000, rate_per_second=200, kills=5, lease_seconds=60, cold_share=0.05)


@pytest.fixture(params=[pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=[pytest.mark.long])])
def size(request: pytest.FixtureRequest) -> Size:
    chosen: Size = request.param
    return chosen


@pytest.fixture
def keyed_system(tmp_path: Path, size: Size) -> Iterator[KeyedSystem]:
    settings = {"KEYFERRY_LEASE_SECONDS": str(size.lease_seconds), "KEYFERRY_MAX_ATTEMPTS": str(MAX_ATTEMPTS)}
    with running_keyed_system(tmp_path / "home", settings) as running:
        yield running


def test_a_rotation_survives_kills_of_the_vault_and_fails_no_request(keyed_system: KeyedSystem, size: Size) -> None:
    tenants = [f"many-{size.tenants}-{number}" for number in range(size.tenants)]
    tokens = open_accounts(keyed_system, tenants[: size.asking])
    keys = store_keys(keyed_system, tenants)
    vault = Tables(keyed_system.system.home)
    until("all keys are published", lambda: vault.count("SELECT count(*) FROM key_vault.outbox") == 0, SETTLE_SECONDS)
    until("a tenant's key pays", lambda: is_served(keyed_system, tokens[tenants[size.asking - 1]]), SETTLE_SECONDS)
    turns, numbers = RequestsInTurn(tokens), random.Random(random_seed())
    with load_in_turn(keyed_system, turns, size) as load:
        wait_for_answers(load, size.asking)
        leases_before, sent_before = count_audited_leases(keyed_system), len(load.sent)
        kek = new_kek(keyed_system)
        rotate_and_kill(keyed_system, vault, kek, size.kills, numbers)
        wait_for_answers(load, size.asking)
        sent = len(load.sent) - sent_before
    until(
        "each lease that was given is in the audit",
        lambda: count_audited_leases(keyed_system) >= vault.nonces,
        SETTLE_SECONDS,
    )
    assert size is LONG or count_audited_leases(keyed_system) == vault.nonces, (
        "a lease is in the audit that nobody was given"
    )
    leases = count_audited_leases(keyed_system) - leases_before
    print(f"{len(load.sent)} requests, {leases} leases for the {sent} during the rotation")
    assert client_outcomes(load) == Counter(whole=len(load.sent)), [
        e.error for e in load.endings().values() if not e.whole
    ][:5]
    assert leases >= size.cold_share * sent, "requests needed the vault; else this shows little"
    assert find_requests_paid_by_others(keyed_system, turns, keys) == []
    verify_without_former_keks(keyed_system, kek, size.tenants)
    assert "the audit log is complete and unchanged" in keyed_system.cli("audit", "verify")


@contextmanager
def load_in_turn(keyed_system: KeyedSystem, turns: RequestsInTurn, size: Size) -> Iterator[SteadyLoad]:
    """Send requests of the tenants in turn at an even rate; each has ended when the block has."""
    with stream_clients(keyed_system.system.http_url, "none: each request has its own") as clients:
        name = f"load-{size.tenants}"
        with SteadyLoad(clients, CHAT_MODEL, name, size.rate_per_second, turns.make_request, seed=0) as load:
            yield load
        until("every request has ended", lambda: all(asking.ending.done() for _, asking in load.sent), 120)


class Tables:
    """The vault's tables, read directly."""

    def __init__(self, home: Path) -> None:
        self._url = vault_url(home)

    def count(self, query: str, *values: object) -> int:
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(query.encode(), values).fetchone()
            assert row is not None
            return int(row[0])

    def left(self, kek: str) -> int:
        """Return how many data keys are under another KEK."""
        return self.count("SELECT count(*) FROM key_vault.data_keys WHERE kek <> %s", kek)

    @property
    def nonces(self) -> int:
        """The number of leases issued recently: their nonces are kept for longer than the short version runs."""
        return self.count("SELECT count(*) FROM key_vault.lease_nonces")


def count_audited_leases(keyed_system: KeyedSystem) -> int:
    """Return how many leases the audit log has."""
    url = (keyed_system.system.home / "secrets" / "database" / "usage_ledger.url").read_text().strip()
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as connection:
        row = connection.execute(
            "SELECT count(*) FROM usage_ledger.audit_entries"
            " WHERE event->>'action' = 'key.lease' AND event->>'outcome' = 'done'"
        ).fetchone()
        assert row is not None
        return int(row[0])


def is_served(keyed_system: KeyedSystem, token: str) -> bool:
    with stream_clients(keyed_system.system.http_url, token) as clients:
        return clients.ask(CHAT_MODEL, "hi", stream=False).result().whole


def wait_for_answers(load: SteadyLoad, more: int) -> None:
    """Wait until so many more answers have come."""
    so_far = load.whole
    until("more answers", lambda: load.whole >= so_far + more, SETTLE_SECONDS)


def new_kek(keyed_system: KeyedSystem) -> str:
    """Put a fresh KEK before the others in the keyring. Return its name."""
    keyring = keyed_system.system.home / "secrets" / "vault" / "keks"
    name, fresh = f"k{secrets.token_hex(4)}", base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    keyring.write_text(f"{name} {fresh}\n{keyring.read_text()}")
    return name


def rotate_and_kill(keyed_system: KeyedSystem, vault: Tables, kek: str, kills: int, numbers: random.Random) -> None:
    """Rotate to the end. Kill the vault `kills` times, each while data keys are left and at least one is done."""
    total = vault.left(kek)
    assert json.loads(keyed_system.cli(*ROTATE))["primary"] == kek
    for number in range(kills):
        goal = min(total - 1, int(total * (1 - (number + numbers.random()) / (kills + 1))))
        until(f"{goal} are left", lambda goal=goal: vault.left(kek) <= goal, SETTLE_SECONDS)  # type: ignore[misc]
        killed = keyed_system.system.pid("key_vault")
        os.kill(killed, signal.SIGKILL)
        at = time.monotonic()
        left = vault.left(kek)
        assert 0 < left <= goal, "there was something left to kill"
        until("the vault is back", lambda pid=killed: keyed_system.system.pid("key_vault") != pid, SETTLE_SECONDS)  # type: ignore[misc]
        print(f"killed with {left} of {total} left; back after {time.monotonic() - at:.1f} s")
        until(
            "the rotation goes on",
            lambda: run_command(ROTATE, keyed_system.system.environment).status == 0,
            SETTLE_SECONDS,
        )
    until("nothing is left", lambda: vault.left(kek) == 0, SETTLE_SECONDS)


def find_requests_paid_by_others(keyed_system: KeyedSystem, turns: RequestsInTurn, keys: dict[str, str]) -> list[str]:
    """Return the requests that were sent with another key than their tenant's, or not at all."""
    used = {
        script_of(call.request.body).name: key_of(call.request)
        for call in keyed_system.provider.calls
        if call.request.path.endswith("/chat/completions") and is_script(call.request.body)
    }
    return [name for name, tenant in turns.asked_by.items() if used.get(name) != keys[tenant]]


def verify_without_former_keks(keyed_system: KeyedSystem, kek: str, tenants: int) -> None:
    """Delete every other KEK for good, and have a fresh vault process decrypt every record."""
    keyring = keyed_system.system.home / "secrets" / "vault" / "keks"
    keyring.write_text(
        "".join(line for line in keyring.read_text().splitlines(keepends=True) if line.split()[0] == kek)
    )
    keyed_system.system.restart("key_vault")
    report = json.loads(keyed_system.cli("vault", "verify", "--json"))
    assert report["undecryptable"] == []
    assert set(report["keks"]) == {kek}
    assert report["records"] >= tenants
