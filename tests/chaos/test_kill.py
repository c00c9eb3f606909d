"""kill -9 of any service under load: what was answered is in the ledger once, and nothing is there twice.

The provider's own log is the oracle: each call it saw has exactly one attempt, and each answer a client got whole has exactly
one completed attempt.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.system import KeyferrySystem, running_system
from tests.support.upstream import Asked, Reply, Upstream, completion, running_upstream
from tests.support.waiting import until

PROCESSES = (
    "ingress",
    "router",
    "provider_worker-1",
    "usage_ledger",
    "health_monitor",
    "tenant_directory",
    "key_vault",
    "console",
    "nats",
    "postgres",
)
CLIENTS = 8
BEFORE, AFTER = 60, 60
"""Answers to wait for before the kill and after the recovery."""


def answering(asked: Asked) -> Reply:
    return completion("ok", model=asked.body["model"])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with running_upstream(answering) as running:
        yield running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[KeyferrySystem]:
    home: Path = tmp_path_factory.mktemp("kill") / "home"
    with running_system(home) as running:
        running.add_endpoint("oracle", upstream.base_url, "oracle-model")
        yield running


@dataclass
class Load:
    """Clients that ask again and again, and write down every final answer."""

    system: KeyferrySystem
    answered: list[str] = field(default_factory=list)
    failed: Counter[int] = field(default_factory=Counter)
    asked: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        url, token = self.system.http_url, self.system.token
        self._threads = [threading.Thread(target=self._run, args=(url, token), daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a client never got a terminal answer"

    def _run(self, url: str, token: str) -> None:
        body = {"model": "oracle/oracle-model", "messages": [{"role": "user", "content": "hi"}]}
        with httpx.Client(headers={"authorization": f"Bearer {token}"}, timeout=30) as client:
            while not self._stop.is_set():
                self.asked += 1
                try:
                    response = client.post(f"{url}/v1/chat/completions", json=body)
                except httpx.TransportError:
                    self.failed[0] += 1
                    self._stop.wait(0.05)
                    continue
                if response.status_code == 200:
                    self.answered.append(response.headers["x-request-id"])
                else:
                    self.failed[response.status_code] += 1
                    self._stop.wait(0.05)


def outcomes(system: KeyferrySystem) -> dict[str, Counter[str]]:
    """Attempts by request and outcome, straight from the table."""
    url = (system.home / "secrets" / "database" / "usage_ledger.url").read_text().strip()
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        rows = connection.execute(
            "SELECT request_id, outcome FROM usage_ledger.attempts WHERE provider = 'custom'"
        ).fetchall()
    found: dict[str, Counter[str]] = {}
    for request_id, outcome in rows:
        found.setdefault(request_id, Counter())[outcome] += 1
    return found


@pytest.mark.timeout(180)
@pytest.mark.parametrize("process", PROCESSES)
def test_nothing_answered_is_missing_and_nothing_is_there_twice(
    system: KeyferrySystem, upstream: Upstream, process: str
) -> None:
    with Load(system) as load:
        until("answers before the kill", lambda: len(load.answered) >= BEFORE)
        system.kill(process)
        so_far = len(load.answered)
        until("answers after the recovery", lambda: len(load.answered) >= so_far + AFTER, 60)

    def accounted() -> bool:
        rows = outcomes(system)
        return all(rows.get(request_id) == Counter({"completed": 1}) for request_id in load.answered)

    until("every answer has exactly one completed attempt", accounted, 60)
    calls = len(upstream.calls)
    until("every call the provider saw is one attempt", lambda: _attempts(system) == calls, 60)
    assert all(sum(counts.values()) == 1 for counts in outcomes(system).values()), "a request was attempted twice"


def _attempts(system: KeyferrySystem) -> int:
    return sum(sum(counts.values()) for counts in outcomes(system).values())
