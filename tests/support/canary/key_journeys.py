"""Provider keys to search for, a provider that repeats the key of a call, and what people do with such keys."""

import base64
import json
import os
import resource
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.canary.channels import CLI, HTTP, OTHER_FILES, PROVIDER
from tests.support.canary.journeys import Journeys, chat
from tests.support.canary.planted_secrets import random_text
from tests.support.canary.repeating_answers import ANSWERS, embeddings, model_list
from tests.support.canary.searcher import Allowed, Canary, CapturedOutput
from tests.support.providers.openai_double import CHAT_MODEL, EMBEDDING_MODEL, good_reply, key_of
from tests.support.providers.upstream import ProviderRequest, Reply, chunk, event, failing, pieces_of
from tests.support.repository.files import ROOT
from tests.support.system.command_line import run_command
from tests.support.waiting import until

KEY_ECHO_PATH = "/echoes-keys"
"""What the paths of the provider begin with that repeats keys."""
TENANT, ROTATED, PLATFORM, TYPED, WITHDRAWN, PLAIN = (
    *("tenant's key", "key that replaces it", "platform's key", "key over the management API", "withdrawn key"),
    "key of a server of one's own",
)
REFUSED, FOREIGN = "refused key", "key of another provider"
_TIMEOUT_SECONDS = 60.0
KEYS_AT_THEIR_PROVIDER = tuple(
    Allowed(name, PROVIDER, rf"{KEY_ECHO_PATH}/.*", "the provider has to see the key that pays for its call")
    for name in (TENANT, ROTATED, PLATFORM, TYPED, WITHDRAWN, PLAIN, REFUSED, FOREIGN)
)


def _said(status: int, detail: str) -> Callable[[str], Reply]:
    return lambda key: failing(status, {"message": detail.replace("KEY", key), "code": key, "type": key, "param": key})


def _encoded(key: str) -> Reply:
    return failing(403, {"message": f"Basic {base64.b64encode(f':{key}'.encode()).decode()} is not accepted"})


def _paged(key: str) -> Reply:
    return Reply(500, {"content-type": "text/html"}, pieces_of(f"<html><!-- {key} --><p>bad key {key}</p>".encode()))


def _moved(key: str) -> Reply:
    return Reply(302, {"location": f"https://llm.example/v1?key={key}"}, pieces_of(key.encode()))


def _in_headers(key: str) -> Reply:
    headers = {"x-request-id": key, "openai-organization": key, "set-cookie": f"session={key}", "retry-after": key}
    return failing(429, {"message": "slow down", "type": "requests"}, headers)


def _broken_off(key: str) -> Reply:
    detail = event({"error": {"message": f"credential {key} was revoked just now", "code": key}})
    return Reply(200, {"content-type": "text/event-stream"}, pieces_of(chunk({"content": "half"}), detail))


def _garbled(key: str) -> Reply:
    return Reply(200, {"content-type": "application/json"}, pieces_of(f"your key is {key}".encode()))


_REPLIES: dict[str, Callable[[str], Reply]] = {
    "gpt-4o": _said(401, "Incorrect API key provided: KEY. You can find yours in your account."),
    "gpt-4.1": _said(400, "credential KEY may not do this, since KEY is KEY"),
    "gpt-4.1-mini": _encoded,
    "gpt-4.1-nano": _paged,
    "gpt-5": _moved,
    "gpt-5-mini": _in_headers,
    "gpt-5-nano": _broken_off,
    "o4-mini": _garbled,
}
"""Model -> how the provider gives the key away that it is called with."""


@dataclass
class KeyEchoingProvider:
    """Serves every key except those in `unwanted`, and repeats the key in every error, and in most answers."""

    unwanted: set[str]

    def answer(self, request: ProviderRequest) -> Reply:
        """Return the reply to a request below KEY_ECHO_PATH."""
        key = key_of(request)
        if key in self.unwanted:
            return _REPLIES["gpt-4o"](key)
        if request.path.endswith("/models"):
            return model_list(key, (CHAT_MODEL, EMBEDDING_MODEL))
        if request.path.endswith("/embeddings"):
            return embeddings(key)
        model = str(request.body.get("model"))
        if model in ANSWERS:
            return ANSWERS[model](key, bool(request.body.get("stream")))
        return _REPLIES[model](key) if model in _REPLIES else good_reply(request)


def vault_secrets(home: Path) -> Iterator[Canary]:
    """Yield what the launcher made for the vault, the workers, the audit log and management."""
    directory = home / "secrets"
    yield Canary("KEK", (directory / "vault" / "keks").read_text().split()[1])
    for name in ("intake-key", "signing-key", "fingerprint-key"):
        yield Canary(f"vault's {name}", (directory / "vault" / name).read_text().strip())
    for file in sorted((directory / "workers").glob("*.key")):
        yield Canary(f"identity key of {file.stem}", file.read_text().strip())
    for file in sorted((directory / "grants").glob("*.key")):
        yield Canary(f"grant key of {file.stem}", file.read_text().strip())
    yield Canary("credit key", (directory / "credit-key").read_text().strip())
    yield Canary("audit key", (directory / "audit-key").read_text().strip())
    yield Canary("operator's token", (directory / "operator-token").read_text().strip())


@dataclass
class KeyJourneys:
    """What people do with keys, right and wrong, on the system of `journeys`; `base_url` is the provider's."""

    journeys: Journeys
    provider: KeyEchoingProvider
    base_url: str
    directory: Path
    _unexplained: list[str] = field(default_factory=list)
    """Ids of requests whose traces are read later: explaining a failure waits for what may follow it."""

    def run_all(self) -> None:
        """Run all journeys in order."""
        self._cli("tenants", "update", "demo", "--tier", "enterprise")
        self._cli("tenants", "set", "demo", "--keys", "own-then-platform")
        self._cli("credits", "grant", "demo", "100000", "--reason", "canary")
        self._misplaced()
        self._life()
        self._withdrawn()
        self._own_server()
        self._over_the_management_api()
        self.explain_all()
        for arguments in (["vault", "status"], ["vault", "verify"], ["audit", "verify"]):
            self._cli(*arguments)
        for tenant in ("demo", "platform"):
            for form in ([], ["--json"]):
                self._cli("audit", "list", "--tenant", tenant, *form)
                self._cli("keys", "list", "--tenant", tenant, *form)

    def crash(self, *processes: str) -> None:
        """Let processes that hold keys die of a segmentation fault, and capture the core dumps they leave."""
        before = set(ROOT.glob("core*"))
        for process in processes:
            pid = self.journeys.system.pid(process)
            os.kill(pid, signal.SIGSEGV)
            until(f"{process} is back", lambda process=process, pid=pid: self.journeys.system.pid(process) != pid)  # type: ignore[misc]
        for core in set(ROOT.glob("core*")) - before:
            self.journeys.captured.append(CapturedOutput(OTHER_FILES, "core dump", core.read_bytes()))
            core.unlink()

    def request_all(self) -> None:
        """Request every error of the provider, streamed and not, and its good responses."""
        for model in (CHAT_MODEL, *_REPLIES):
            for stream in (True, False):
                answer = self.journeys.http(f"{model}, stream {stream}", body=chat(f"openai/{model}", stream=stream))
            self._unexplained.append(answer.headers["x-request-id"])
        body = {"model": EMBEDDING_MODEL, "input": "hi"}
        self.journeys.http("embeddings of a key", "/v1/embeddings", body=body)

    def explain_all(self) -> None:
        """Explain the requests that were made, once their traces are complete."""
        for request_id in self._unexplained:
            explain = ("explain", request_id, "--tenant", "demo")
            until(
                "its trace is complete",
                lambda explain=explain: run_command((*explain, "--json"), self.journeys.system.environment).status == 0,  # type: ignore[misc]
            )
            for form in ([], ["--json"]):
                self._cli(*explain, *form)
        self._unexplained.clear()

    # --- inside

    def _cli(self, *arguments: str, status: int | None = 0, environment: Mapping[str, str] | None = None) -> str:
        """Run one command in this process. Return its standard output; `status` None expects any failure."""
        given = run_command(arguments, {**self.journeys.system.environment, **(environment or {})})
        place = " ".join(arguments[:2])
        self.journeys.captured.append(CapturedOutput(CLI, place, given.output.encode()))
        as_expected = given.status != 0 if status is None else given.status == status
        assert as_expected, f"keyferry {place} exits {given.status}"
        return given.out

    def _add_key(
        self, name: str, tenant: str, *more: str, provider: str = "openai", form: str = "--json"
    ) -> tuple[str, str]:
        """Store a planted key. Return the key and its id."""
        key = self.journeys.plant(name)
        arguments = ("keys", "add", "--provider", provider, "--tenant", tenant, "--key-file", str(self._file(key)))
        stored: dict[str, str] = json.loads(self._cli(*arguments, form, *more))
        return key, stored["key_id"]

    def _file(self, key: str) -> Path:
        file = self.directory / secrets.token_hex(4)
        file.write_text(f"{key}\n")
        return file

    def _misplaced(self) -> None:
        """Send keys that are rejected: unwanted, of another provider, malformed, or in place of something else."""
        refused = self.journeys.plant(REFUSED)
        self.provider.unwanted.add(refused)
        add = ("keys", "add", "--tenant", "demo", "--provider")
        for command in (add, ("keys", "try", "--tenant", "demo", "--provider")):
            self._cli(*command, "openai", "--key-file", str(self._file(refused)), status=1)
        foreign = self.journeys.plant_secret(Canary(FOREIGN, f"sk-ant-{random_text()}", "sk-ant-"))
        self.provider.unwanted.add(foreign)  # its form is only reason for a warning, so that it is tried
        self._cli(*add, "openai", "--key-file", str(self._file(foreign)), status=1)
        broken = self.journeys.plant("key with a line break")
        self._cli(*add, "openai", "--key-file", str(self._file(f"{broken}\nx: {broken}")), status=1)
        self._cli(*add, "openai", "--key-file", self.journeys.plant("key in place of its file"), status=1)
        self._cli("keys", "test", self.journeys.plant("key in place of its id"), "--tenant", "demo", status=1)
        self._cli(*add, self.journeys.plant("key in place of its provider"), status=None)

    def _life(self) -> None:
        tenants, key_id = self._add_key(TENANT, "demo")
        until("the tenant's key pays", lambda: self._pays_for("byok"))
        self.request_all()
        for action in ("test", "disable", "enable"):
            self._cli("keys", action, key_id, "--tenant", "demo")
        rotated = str(self._file(self.journeys.plant(ROTATED)))
        self._cli("keys", "rotate", key_id, "--tenant", "demo", "--key-file", rotated)
        until("the key after the rotation pays", lambda: self._pays_for("byok"))
        self._cli("keys", "revert", key_id, "--tenant", "demo")
        self._cli(
            "keys", "add", "--tenant", "demo", "--provider", "openai", "--key-file", str(self._file(tenants)), status=1
        )
        environment = {"OPENAI_API_KEY": self.journeys.plant(PLATFORM)}
        self._cli("keys", "import", environment=environment)
        self._cli("keys", "import", "--json", environment=environment, status=1)
        self._cli("keys", "rm", key_id, "--tenant", "demo", "--yes")
        until("the platform's key pays", lambda: self._pays_for("platform"))
        self.request_all()

    def _withdrawn(self) -> None:
        key, key_id = self._add_key(WITHDRAWN, "demo", form="--json")
        self.provider.unwanted.add(key)
        self._cli("keys", "test", key_id, "--tenant", "demo")
        self._cli("keys", "test", key_id, "--tenant", "demo", "--json")

    def _own_server(self) -> None:
        """Store a key that no pattern could recognise, for a server of the tenant's own."""
        key = self.journeys.plant_secret(Canary(PLAIN, f"correct-{random_text(14)}_horse-{random_text(14)}"))
        add = ("keys", "add", "--tenant", "demo", "--provider", "custom", "--base-url", self.base_url)
        self._cli(*add, "--key-file", str(self._file(key)), "--json")
        until("it pays", lambda: self.journeys.http("own server", body=chat("custom/well")).status_code == 200)
        for model in (*_REPLIES, *ANSWERS):
            for stream in (True, False):
                answer = self.journeys.http(
                    f"own {model}, stream {stream}", body=chat(f"custom/{model}", stream=stream)
                )
            self._unexplained.append(answer.headers["x-request-id"])

    def _over_the_management_api(self) -> None:
        """Send keys in clear and in wrong places to the console, as programs do."""
        path = "/api/v1/ops/tenants/demo/provider-keys"
        typed = self.journeys.plant(TYPED)
        wrong = self.journeys.plant("key in a wrong field")
        good = {"provider": "openai", "label": "typed"}
        assert self.manage("POST", path, good | {"key": typed}) == 201
        for body in (
            good | {"key": [wrong]},
            good | {"key": typed, "secret": wrong},
            good | {"sealed": wrong},
            {"provider": wrong, "label": wrong, "weight": wrong, "key": wrong},
        ):
            assert self.manage("POST", path, body) >= 400
        for query in (path, f"{path}/{wrong}", f"{path}?key={wrong}"):
            self.manage("GET", query)

    def manage(self, method: str, path: str, body: object = None) -> int:
        """Send a request to the management API as the operator, capture the answer, and return its status."""
        system = self.journeys.system
        token = (system.home / "secrets" / "operator-token").read_text().strip()
        url = f"{system.state['console_url']}{path}"
        headers = {"authorization": f"Bearer {token}"}
        response = httpx.request(method, url, json=body, headers=headers, timeout=_TIMEOUT_SECONDS)
        lines = [b"%d" % response.status_code, *(b": ".join(pair) for pair in response.headers.raw), response.content]
        self.journeys.captured.append(CapturedOutput(HTTP, "management", b"\n".join(lines)))
        return response.status_code

    def _pays_for(self, whose: str) -> bool:
        answer = self.journeys.http("who pays", body=chat(CHAT_MODEL))
        return answer.status_code == 200 and answer.headers["x-keyferry-credential"] == whose


@contextmanager
def core_dumps_allowed() -> Iterator[None]:
    """Let processes started in this block dump core unless they forbid it themselves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
