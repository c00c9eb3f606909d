"""A system with provider keys: an operator at the command line, and tenants that send requests."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai

from tests.support.clients.steady_load import Request, SteadyLoad
from tests.support.clients.stream_clients import stream_clients
from tests.support.providers.openai_double import CHAT_MODEL, ProviderDouble, key_of, running_provider
from tests.support.providers.scripted_answers import Script
from tests.support.system.command_line import run_command
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.waiting import until

DOUBLED_PROVIDERS = ("openai", "mistral")
"""Providers of one dialect, whose keys are used at the double."""
_CHAT: Mapping[str, object] = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class TenantAccount:
    """A tenant of the system: it has a client token, and may have keys of its own."""

    keyed_system: "KeyedSystem"
    tenant: str
    token: str
    _client: openai.OpenAI | None = None

    def openai(self) -> openai.OpenAI:
        """Return the official SDK with only base URL and key changed."""
        if self._client is None:
            self._client = openai.OpenAI(
                base_url=f"{self.keyed_system.system.http_url}/v1", api_key=self.token, max_retries=0, timeout=60
            )
        return self._client

    def close(self) -> None:
        """Close the SDK's connections."""
        if self._client is not None:
            self._client.close()

    def ask(self, **changes: object) -> httpx.Response:
        """Send one chat request over HTTP."""
        url = f"{self.keyed_system.system.http_url}/v1/chat/completions"
        return httpx.post(url, json={**_CHAT, **changes}, headers={"authorization": f"Bearer {self.token}"}, timeout=60)

    def wait_for_status(self, status: int) -> httpx.Response:
        """Return the first chat response with this status: the views follow the vault with a delay."""

        def answered() -> httpx.Response | None:
            response = self.ask()
            return response if response.status_code == status else None

        return until(f"a chat of {self.tenant} is answered with {status}", answered)

    def wait_until_paid_with(self, key: str) -> httpx.Response:
        """Return the first chat response that was paid for with this key alone."""

        def paid() -> httpx.Response | None:
            detail, provider = secrets.token_hex(8), self.keyed_system.provider
            mark = provider.mark()
            response = self.ask(messages=[{"role": "user", "content": detail}])
            used = {key_of(call.request) for call in provider.calls[mark:] if detail in str(call.request.body)}
            return response if response.status_code == 200 and used == {key} else None

        return until(f"a chat of {self.tenant} is paid for with the key that was given", paid)

    def attempts(self, request_id: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until a request has `count` attempts in the ledger. Return their records."""

        def rows() -> list[dict[str, Any]] | None:
            explained = run_command(
                ("explain", request_id, "--tenant", self.tenant, "--json"), self.keyed_system.system.environment
            )
            found: list[dict[str, Any]] = json.loads(explained.out)["attempts"] if explained.status == 0 else []
            return found if len(found) >= count else None

        return [row["record"] for row in until(f"{count} ledger rows of {request_id}", rows)]


@dataclass
class KeyedSystem:
    """An operator at the command line of `system`, whose keys are used at `provider`."""

    system: KeyferrySystem
    provider: ProviderDouble
    accounts: list[TenantAccount] = field(default_factory=list)

    def cli(
        self, *arguments: str, status: int = 0, stdin: str | None = None, settings: Mapping[str, str] | None = None
    ) -> str:
        """Run `keyferry` in this process. Return its standard output, or all output if `status` is a failure."""
        return self.system.cli(*arguments, status=status, stdin=stdin, settings=settings)

    # --- tenants

    def new_tenant(self, tenant: str, *, tier: str = "professional", keys: str | None = None) -> TenantAccount:
        """Create a tenant with a client token. `keys` is its policy: `own`, `own-then-platform`, `platform`."""
        unlimited = ("--rpm", "unlimited", "--tpm", "unlimited", "--concurrency", "unlimited")
        self.cli("tenants", "create", tenant, "--tier", tier, *unlimited)
        if keys is not None:
            self.policy(tenant, keys)
        made = json.loads(self.cli("tokens", "create", "--tenant", tenant, "--json"))
        self.accounts.append(TenantAccount(self, tenant, made["token"]))
        return self.accounts[-1]

    def policy(self, tenant: str, keys: str) -> None:
        """Set whose keys pay for a tenant."""
        self.cli("tenants", "set", tenant, "--keys", keys)

    # --- keys

    def add(self, tenant: str, key: str, *more: str) -> dict[str, Any]:
        """Run `keyferry keys add` with the key on standard input. Return the stored key as the vault shows it."""
        return self._key(self.cli(*self._add(tenant), "--json", *more, stdin=f"{key}\n"))

    def wait_until_keys_are_tested(self) -> None:
        """Wait until the vault knows a worker: the system is up before, since most of its work needs no keys."""
        failed_attempts, key = (
            ("keys", "try", "--provider", "openai", "--tenant", "demo", "--key-file", "-"),
            self.provider.issue(),
        )
        until(
            "a worker tests keys", lambda: run_command(failed_attempts, self.system.environment, f"{key}\n").status == 0
        )

    def expect_refusal(self, tenant: str, key: str, *more: str) -> str:
        """Return what `keyferry keys add` prints when it stores nothing."""
        return self.cli(*self._add(tenant), *more, stdin=f"{key}\n", status=1)

    def do(self, action: str, key_id: str, tenant: str, *more: str, stdin: str | None = None) -> dict[str, Any]:
        """Run `keyferry keys test|rotate|revert|edit|enable|disable|rm`. Return its JSON output."""
        return self._key(self.cli("keys", action, key_id, "--tenant", tenant, "--json", *more, stdin=stdin))

    def remove(self, key_id: str, tenant: str) -> str:
        """Run `keyferry keys rm`. Return its text output."""
        return self.cli("keys", "rm", key_id, "--tenant", tenant, "--yes")

    def keys(self, tenant: str) -> list[dict[str, Any]]:
        """Return a tenant's keys, in the order in which they are used."""
        listed: dict[str, list[dict[str, Any]]] = json.loads(self.cli("keys", "list", "--tenant", tenant, "--json"))
        return listed["keys"]

    def key(self, tenant: str, key_id: str) -> dict[str, Any]:
        """Return one of them."""
        return next(key for key in self.keys(tenant) if key["key_id"] == key_id)

    def audit(self, tenant: str) -> list[dict[str, Any]]:
        """Return a tenant's audit events, the oldest first, without those that reading as the operator makes."""
        entries: list[dict[str, Any]] = json.loads(
            self.cli("audit", "list", "--tenant", tenant, "--limit", "1000", "--json")
        )["entries"]
        events = [entry["event"] for entry in reversed(entries)]
        return [event for event in events if event["action"] != "operator.access"]

    def changes_of_keys(self, tenant: str, actions: Sequence[str]) -> list[dict[str, Any]]:
        """Wait until the audit events of a tenant's keys, leases aside, are these actions, and return them.

        The vault publishes its audit after each commit, and the ledger reads it in batches.
        """

        def recorded() -> list[dict[str, Any]] | None:
            found = [
                event
                for event in self.audit(tenant)
                if event["action"].startswith("key.") and event["action"] != "key.lease"
            ]
            return found if [event["action"] for event in found] == [f"key.{action}" for action in actions] else None

        return until(f"the audit log of {tenant} has {', '.join(actions)}", recorded)

    def _add(self, tenant: str) -> tuple[str, ...]:
        return "keys", "add", "--provider", "openai", "--tenant", tenant, "--key-file", "-"

    def _key(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(text)
        return found


def vault_url(home: Path) -> str:
    """Return the database URL of the vault's own role, for psycopg."""
    url = (home / "secrets" / "database" / "key_vault.url").read_text().strip()
    return url.replace("postgresql+psycopg://", "postgresql://")


def _urls(provider: ProviderDouble) -> str:
    return ",".join(f"{name}={provider.base_url}" for name in DOUBLED_PROVIDERS)


@contextmanager
def running_keyed_system(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[KeyedSystem]:
    """Run a system and a provider double that takes the place of those with OpenAI's dialect."""
    with (
        running_provider() as provider,
        running_system(home, {"KEYFERRY_PROVIDER_URLS": _urls(provider), **(settings or {})}) as system,
    ):
        keyed_system = KeyedSystem(system, provider)
        try:
            keyed_system.wait_until_keys_are_tested()
            yield keyed_system
        finally:
            for account in keyed_system.accounts:
                account.close()


@contextmanager
def under_load(account: TenantAccount, rate_per_second: float) -> Iterator[SteadyLoad]:
    """Request answers of one word at this rate while the block lasts."""
    name = f"load-{account.tenant}"
    with stream_clients(account.keyed_system.system.http_url, account.token) as clients:
        make_request = lambda name, _: Request(Script(name, 1), stream=False)  # noqa: E731 - one expression
        with SteadyLoad(clients, CHAT_MODEL, name, rate_per_second, make_request, seed=0) as load:
            yield load
        until("every request has ended", lambda: all(pending.ending.done() for _, pending in load.sent), 120)
