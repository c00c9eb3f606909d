"""The demo system: the whole embedded system with tenants, keys, client tokens, traffic of today and a history."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from keyferry.contracts import sign_in_code
from keyferry.runtime.process.settings import read_random_secret
from tests.support.system.command_line import run_command
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.waiting import until
from tests.ui.demo.people import Person
from tests.ui.demo.providers import DemoProviders, running_providers

START_SECONDS: Final = 90.0
"""What a system may take until all of it works, on a machine that does much else."""
COOKIE: Final = "sid"
"""The session's cookie over plain http."""
T = TypeVar("T")


def in_thread(work: Callable[[], T]) -> T:
    """Do what needs an event loop of its own: the thread of a test has Playwright's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@dataclass
class DemoSystem:
    """The running system, and how people and programs reach it."""

    system: KeyferrySystem
    providers: DemoProviders
    tokens: dict[str, str] = field(default_factory=dict)
    """The client token of each tenant's first program."""
    token_ids: dict[str, list[str]] = field(default_factory=dict)
    key_ids: dict[tuple[str, str], str] = field(default_factory=dict)
    """(tenant, label) -> the id of a provider key."""
    secrets: dict[str, str] = field(default_factory=dict)
    """What no page may show: provider keys and client tokens, by what they are."""
    request_ids: list[str] = field(default_factory=list)
    """The requests of today of the first tenant, in the order in which they ended."""
    _sessions: dict[Person, str] = field(default_factory=dict)

    @property
    def console_url(self) -> str:
        return str(self.system.state["console_url"]).rstrip("/")

    @property
    def http_url(self) -> str:
        """The address of the ingress."""
        return self.system.http_url.rstrip("/")

    @property
    def origins(self) -> frozenset[str]:
        """The origins that a page may send requests to."""
        return frozenset({self.console_url, self.http_url})

    # --- as an operator at the command line

    def cli(self, *arguments: str, status: int = 0, stdin: str | None = None) -> str:
        """Run `keyferry`. Return its standard output, or all output if `status` is a failure."""
        return in_thread(lambda: self.system.cli(*arguments, status=status, stdin=stdin))

    def until_done(self, *arguments: str, stdin: str | None = None) -> None:
        """Run `keyferry` until it succeeds, for what a system can do only a while after its start."""
        said: list[str] = []

        def done() -> bool:
            result = run_command(arguments, self.system.environment, stdin)
            said.append(result.output)
            return result.status == 0

        try:
            in_thread(lambda: until(f"keyferry {' '.join(arguments)} succeeds", done, START_SECONDS))
        except AssertionError as error:
            raise AssertionError(f"{error}; it says: {said[-1]}") from None

    def ask_cli(self, *arguments: str, stdin: str | None = None) -> Any:
        """Run `keyferry … --json`; return what it prints."""
        return json.loads(self.cli(*arguments, "--json", stdin=stdin))

    def add_tenant(self, tenant: str, name: str, *, tier: str = "professional", keys: str | None = None) -> None:
        """Create a tenant with no limits of rates, and with this policy about whose keys pay."""
        limits = ("--rpm", "unlimited", "--tpm", "unlimited", "--concurrency", "unlimited")
        self.cli("tenants", "create", tenant, "--name", name, "--tier", tier, *limits)
        if keys is not None:
            self.cli("tenants", "set", tenant, "--keys", keys)

    def add_token(self, tenant: str, label: str, *more: str) -> str:
        """Create a client token; the first of a tenant is what `ask` uses. Return it."""
        made = self.ask_cli("tokens", "create", "--tenant", tenant, "--label", label, *more)
        token = str(made["token"])
        self.tokens.setdefault(tenant, token)
        self.token_ids.setdefault(tenant, []).append(str(made["token_id"]))
        self.secrets[f"client token {label} of {tenant}"] = token
        return token

    def add_key(self, tenant: str, provider: str, label: str, *more: str) -> str:
        """Add a provider key that the provider knows. Return the key."""
        key = self.providers.issue_for(provider, seed=f"{tenant} {provider} {label}")
        self.secrets[f"provider key {label} of {tenant}"] = key
        options = ("--provider", provider, "--tenant", tenant, "--label", label, "--key-file", "-", *more)
        self.key_ids[tenant, label] = str(self.ask_cli("keys", "add", *options, stdin=f"{key}\n")["key_id"])
        return key

    def wait_until_keys_are_tested(self) -> None:
        """Wait until the vault knows a worker: the system is up before, since most of its work needs no keys."""
        key = self.providers.issue_for("openai")
        self.until_done("keys", "try", "--provider", "openai", "--tenant", "demo", "--key-file", "-", stdin=f"{key}\n")

    # --- as a program

    def ask(
        self,
        tenant: str,
        model: str,
        prompt: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, object] | None = None,
    ) -> httpx.Response:
        """Send one chat through the ingress."""
        return httpx.post(
            f"{self.http_url}/v1/chat/completions",
            json={"model": model, "messages": [{"role": "user", "content": prompt}], **(more or {})},
            headers={"authorization": f"Bearer {token or self.tokens[tenant]}", **(headers or {})},
            timeout=60,
        )

    # --- as a person

    def code(self, person: Person) -> str:
        """Return a code of the built-in login, which can be exchanged once."""
        key = read_random_secret(self.system.home / "secrets" / "login-key", "the login key")
        made = sign_in_code.mint(
            key,
            email=person.email,
            tenant=person.tenant,
            role=person.role,
            operator=person.operator,
            now_seconds=time.time(),
        )
        return made.reveal()

    def session(self, person: Person, *, fresh: bool = False) -> str:
        """Return the session cookie of somebody who has signed in, in this run or, if `fresh`, just now."""
        if fresh or person not in self._sessions:
            answer = httpx.post(
                f"{self.console_url}/auth/code",
                json={"code": self.code(person), "browser": True},
                headers={"origin": self.console_url, "sec-fetch-site": "same-origin"},
                timeout=60,
            )
            assert answer.status_code == 200, answer.text
            session = answer.cookies[COOKIE]
            if fresh:
                return session
            self._sessions[person] = session
            until(
                f"the session of {person.email} is known",
                lambda: self.get(person, "/session").status_code == 200,
                START_SECONDS,
            )
        return self._sessions[person]

    def end_session(self, session: str) -> None:
        """End a session, as its owner can in another browser."""
        with httpx.Client(base_url=self.console_url, cookies={COOKIE: session}, timeout=60) as client:
            found = client.get("/api/v1/session").json()
            headers = {
                "x-csrf-token": found["csrf_token"],
                "origin": self.console_url,
                "sec-fetch-site": "same-origin",
            }
            answer = client.delete(f"/api/v1/sessions/{found['session']['session_id']}", headers=headers)
            assert answer.is_success, answer.text

    def get(self, person: Person, path: str) -> httpx.Response:
        """Ask the management API as the person's page does."""
        return httpx.get(
            f"{self.console_url}/api/v1{path}",
            cookies={COOKIE: self.session(person)}
            if person not in self._sessions
            else {COOKIE: self._sessions[person]},
            timeout=60,
        )


@contextmanager
def running_demo(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[DemoSystem]:
    """Run the system with its providers, and nothing in it yet."""
    with running_providers() as providers:
        given = {"KEYFERRY_PROVIDER_URLS": providers.urls, **(settings or {})}
        with running_system(home, given) as system:
            demo = DemoSystem(system, providers)
            demo.wait_until_keys_are_tested()
            yield demo
