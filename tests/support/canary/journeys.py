"""What people and programs do with a system, right and wrong, with a secret in every place where one could leak."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.support.canary.channels import CLI, HTTP, LOGS
from tests.support.canary.joined_texts import chunks_of, joined_texts
from tests.support.canary.planted_secrets import LeakyReply, client_token_named, mistyped, provider_key, random_text
from tests.support.canary.searcher import Canary, CapturedOutput
from tests.support.repository.files import ROOT
from tests.support.system.command_line import run_command
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

_CHAT = "/v1/chat/completions"
_TIMEOUT_SECONDS = 60.0
_REDELIVERED_SECONDS = 120.0
"""A record that was delivered to a process that has ended comes again after a minute."""
USED, REVOKED, FILED, MISTYPED = "used token", "revoked token", "token in a file", "mistyped token"


@dataclass
class Journeys:
    """A user of `system` who records every response, and every secret that was issued or planted on the way."""

    system: KeyferrySystem
    captured: list[CapturedOutput] = field(default_factory=list)
    canaries: list[Canary] = field(default_factory=list)

    # --- means

    def plant_secret(self, canary: Canary) -> str:
        """Search for this secret from now on. Return its text."""
        self.canaries.append(canary)
        return canary.text

    def plant(self, name: str) -> str:
        """Plant a new secret in the form of a provider key. Return its text."""
        return self.plant_secret(provider_key(name))

    def http(
        self,
        place: str,
        path: str = _CHAT,
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        body: Mapping[str, object] | None = None,
    ) -> httpx.Response:
        """Send one HTTP request, as the demo tenant unless `headers` say otherwise."""
        sent = {"authorization": f"Bearer {self.system.token}", "content-type": "application/json", **(headers or {})}
        data = content if content is not None else json.dumps(body if body is not None else chat("echo")).encode()
        url = f"{self.system.http_url}{path}"
        response = httpx.request(
            method, url, headers=sent, content=data if method == "POST" else None, timeout=_TIMEOUT_SECONDS
        )
        lines = [b"%d" % response.status_code, *(b": ".join(pair) for pair in response.headers.raw), response.content]
        lines += [text.encode() for text in joined_texts(chunks_of(response.content))]
        self.captured.append(CapturedOutput(HTTP, place, b"\n".join(lines)))
        return response

    def cli(self, *arguments: str, status: int | None = 0, environment: Mapping[str, str] | None = None) -> str:
        """Run one command. Return its standard output; `status` None expects any failure.

        A command that is to fail runs as a process, so that its last output is captured too.
        """
        settings = {**self.system.environment, **(environment or {})}
        if status != 0:
            done = self._run([sys.executable, "-m", "keyferry.cli.main", *arguments], settings)
            ended, out, err = done.returncode, done.stdout, done.stderr
        else:
            given = run_command(arguments, settings)
            ended, out, err = given.status, given.out.encode(), given.err.encode()
        place = " ".join(arguments[:2])
        self.captured += [CapturedOutput(CLI, place, out), CapturedOutput(CLI, place, err)]
        as_expected = ended != 0 if status is None else ended == status
        assert as_expected, f"keyferry {place} exits {ended}"
        return out.decode()

    def expect_failed_start(self, service: str, environment: Mapping[str, str]) -> None:
        """Start a service that cannot run with these settings; capture what it logs."""
        done = self._run([sys.executable, "-m", f"services.{service}"], _bare(environment))
        assert done.returncode != 0, f"{service} was to refuse its settings"
        assert done.stderr, f"{service} ended without a word"
        self.captured.append(CapturedOutput(LOGS, f"{service} that does not start", done.stdout + done.stderr))

    @contextmanager
    def expect_complaint(self, service: str, environment: Mapping[str, str], detail: bytes) -> Iterator[None]:
        """Start a service that waits in vain; when the block ends, wait until it logs `detail`, and capture what it logs."""
        command = [sys.executable, "-m", f"services.{service}"]
        said: list[bytes] = []
        with subprocess.Popen(command, cwd=ROOT, env=_bare(environment), stderr=subprocess.PIPE) as waiting:
            assert waiting.stderr is not None
            try:
                yield
                for line in waiting.stderr:
                    said.append(line)
                    if detail in line:
                        break
            finally:
                waiting.kill()
        self.captured.append(CapturedOutput(LOGS, f"{service} that waits in vain", b"".join(said)))
        assert any(detail in line for line in said), f"{service} ended without saying {detail!r}"

    def _run(self, command: list[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            command, cwd=ROOT, env=dict(environment), capture_output=True, timeout=_TIMEOUT_SECONDS, check=False
        )

    # --- ways

    def tokens(self, directory: Path) -> None:
        """Create, use, list, mistype and revoke client tokens."""
        used, _ = self._create_token(USED)
        revoked, revoked_id = self._create_token(REVOKED)
        file = directory / "token"
        self.cli("tokens", "create", "--tenant", "demo", "--output", str(file))
        filed = self.plant_secret(client_token_named(FILED, file.read_text().strip()))
        for token in (used, revoked, filed):
            self._wait_for_status(token, 200)
        self.cli("tokens", "revoke", revoked_id, "--tenant", "demo")
        self._wait_for_status(revoked, 401)
        typo = self.plant_secret(client_token_named(MISTYPED, mistyped(self._create_token("token to mistype")[0])))
        assert self._with(f"Bearer {typo}", "a mistyped token") == 401
        self.cli("tokens", "list", "--tenant", "demo")
        self.cli("tokens", "list", "--tenant", "demo", "--json")

    def wrong_credentials(self) -> None:
        """Send other secrets in place of the client token."""
        key = self.plant("provider key as client token")
        assert self._with(f"Bearer {key}", "a provider key") == 401
        assert self._with(self.plant("key without a scheme"), "no scheme") == 401
        assert self._with(f"Basic {self.plant('basic credentials')}", "basic credentials") == 401

    def misplaced_secrets(self) -> None:
        """Send secrets in headers, URLs and unreadable bodies."""
        wrong = {"x-api-key": "key in x-api-key", "cookie": "key in a cookie", "traceparent": "key in traceparent"}
        wrong |= {"x-request-id": "key in x-request-id", "proxy-authorization": "key in proxy-authorization"}
        wrong |= {"openai-organization": "key in openai-organization", "referer": "key in referer"}
        for header, name in wrong.items():
            # A second token that is not the first is refused; every other header has no meaning here.
            expected = 401 if header == "x-api-key" else 200
            answer = self.http(name, headers={header: self.plant(name)}, body=chat("lab/well"))
            assert answer.status_code == expected, f"{name}: {answer.status_code}"
        for header in ("x-operation", "x-keyferry-tags"):
            name = f"key in {header}"
            assert self.http(name, headers={header: f"{self.plant(name)} x"}).status_code == 400
        self.http("query of a chat", f"{_CHAT}?api_key={self.plant('key in a query')}", body=chat("lab/well"))
        self.http("query of models", f"/v1/models?key={self.plant('key in a query of models')}", method="GET")
        self.http("query of nothing", f"/v2/x?key={self.plant('key in a query of nothing')}", method="GET")
        for name, content in self._bad_bodies():
            assert self.http(name, content=content).status_code == 400, name

    def _bad_bodies(self) -> Iterator[tuple[str, bytes]]:
        yield "cut-off JSON", f'{{"model": "echo", "key": "{self.plant("key in cut-off JSON")}'.encode()
        yield "no JSON at all", self.plant("key in place of JSON").encode()
        yield "wrong form", f"model=echo&key={self.plant('key in a form')}".encode()
        for name in ("model", "messages", "stream", "stream_options"):
            secret = {"key": self.plant(f"key of the wrong type in {name}")}
            value = secret if name != "stream_options" else [secret]
            yield f"wrong type of {name}", json.dumps({**chat("echo"), name: value}).encode()
        yield "secret as stream", json.dumps(chat("echo") | {"stream": self.plant("key as stream")}).encode()
        message = {"role": self.plant("key as a role"), "content": "x"}
        yield "secret as role", json.dumps({"model": "lab/well", "messages": [message]}).encode()

    def leaky_provider(self, rows: list[LeakyReply]) -> None:
        """Let a provider leak secrets in its errors, streamed and not, over HTTP and over the bus."""
        for row in rows:
            self.plant_secret(row.canary)
            for stream in row.modes:
                response = self.http(f"{row.model}, stream {stream}", body=chat(f"lab/{row.model}", stream=stream))
                assert response.status_code >= 400 or "[DONE]" not in response.text, row.model
        self.cli("chat", "hi", "--model", f"lab/{rows[0].model}", status=None)
        self.explain(self.http("failed", body=chat(f"lab/{rows[-1].model}")).headers["x-request-id"])
        fallen_back = self.http("fallback", body=chat("shared"))
        assert fallen_back.headers["x-keyferry-attempts"] == "2"
        self.explain(fallen_back.headers["x-request-id"])

    def explain(self, request_id: str) -> None:
        """Explain a request once its trace is complete."""
        until(f"{request_id} is in the ledger", lambda: self.system.usage_rows(request_id), _REDELIVERED_SECONDS)
        for form in ([], ["--json"]):
            self.cli("explain", request_id, "--tenant", "demo", *form)

    def streams(self, model: str) -> str:
        """Request complete and abandoned responses of `model`. Return the id of a request."""
        self.http("whole stream", body=chat(model, stream=True))
        answer = self.http("whole answer", body=chat(model))
        assert answer.status_code == 200
        headers = {"authorization": f"Bearer {self.system.token}"}
        with httpx.stream(
            "POST", f"{self.system.http_url}{_CHAT}", json=chat("echo", stream=True), headers=headers, timeout=30
        ) as abandoned:
            next(abandoned.iter_bytes())
        return str(answer.headers["x-request-id"])

    def commands(self) -> None:
        """Run commands that succeed, and commands with a secret in the wrong place."""
        for arguments in (["status"], ["doctor"], ["models", "--tenant", "demo"], ["usage", "--tenant", "demo"]):
            self.cli(*arguments)
        self.cli("chat", "hello", "--explain")
        password = self.plant_secret(Canary("password in a base URL", random_text()))
        self._refused_endpoint(f"http://user:{password}@127.0.0.1:9/v1")
        without_scheme = self.plant_secret(Canary("password in a base URL without a scheme", random_text()))
        self._refused_endpoint(f"user:{without_scheme}@127.0.0.1:9/v1")
        self._refused_endpoint(f"http://127.0.0.1:9/v1?key={self.plant('key in the query of a base URL')}")
        token = self._create_token("token given as an id")[0]
        self.cli("tokens", "revoke", token, "--tenant", "demo", status=None)
        credentials = self.plant_secret(Canary("password in the URL of the bus", random_text()))
        elsewhere = {"KEYFERRY_NATS_URL": f"nats://user:{credentials}@127.0.0.1:9"}
        self.cli("status", status=None, environment=elsewhere)
        self.cli("doctor", status=None, environment=elsewhere)

    def _refused_endpoint(self, base_url: str) -> None:
        self.cli("endpoints", "add", "leaky", "--tenant", "demo", "--base-url", base_url, "--no-probe", status=None)

    def broken_settings(self, directory: Path) -> None:
        """Start services whose secrets are damaged, or are given in place of a file's path."""
        good = {"KEYFERRY_NATS_URL": str(self.system.state["nats_url"]), "KEYFERRY_HTTP_PORT": "9"}
        seed_file = self.system.home / "secrets" / "nkeys" / "router.seed"
        good |= {"KEYFERRY_NATS_NKEY_FILE": str(seed_file), "KEYFERRY_SPOOL_DIR": str(directory / "spool")}
        password = self.plant_secret(Canary("password instead of a file", random_text()))
        url = f"postgresql+psycopg://keyferry:{password}@127.0.0.1/x"
        self.expect_failed_start("router", good | {"KEYFERRY_DATABASE_URL_FILE": url})
        pepper = self.plant_secret(Canary("pepper instead of a file", random_text()))
        self.expect_failed_start("ingress", good | {"KEYFERRY_TOKEN_PEPPER_FILE": pepper})
        self.cli(
            "status", status=None, environment=good | {"KEYFERRY_NATS_NKEY_FILE": self.plant("seed instead of a file")}
        )
        credentials = self.plant_secret(Canary("password in a service's URL of the bus", random_text()))
        elsewhere = {
            "KEYFERRY_NATS_URL": f"nats://user:{credentials}@127.0.0.1:9",
            "KEYFERRY_TOKEN_PEPPER_FILE": str(self.system.home / "secrets" / "token-pepper"),
            "KEYFERRY_GRANT_KEY_FILE": str(self.system.home / "secrets" / "grants" / "ingress.key"),
            "KEYFERRY_HTTP_PORT": "9",
        }
        with self.expect_complaint("ingress", elsewhere, b"NATS does not answer"):
            damaged = directory / "damaged"
            damaged.write_text(f"{self.plant_secret(Canary('password in a damaged URL', random_text()))} is no URL")
            self.expect_failed_start("router", good | {"KEYFERRY_DATABASE_URL_FILE": str(damaged)})
            typo = directory / "typo.seed"
            typo.write_text(mistyped(seed_file.read_text().strip()))
            self.expect_failed_start("provider_worker", good | {"KEYFERRY_NATS_NKEY_FILE": str(typo)})
            self.cli("status", status=None, environment=good | {"KEYFERRY_NATS_NKEY_FILE": str(typo)})

    def restarts(self, *services: str) -> None:
        """Replace services while the system runs, and kill one."""
        for service in services:
            self.cli("restart", service)
        self.system.kill("tenant_directory")
        self._wait_for_status(self.system.token, 200)

    # --- inside

    def _create_token(self, name: str) -> tuple[str, str]:
        made = json.loads(self.cli("tokens", "create", "--tenant", "demo", "--label", name, "--json"))
        return self.plant_secret(client_token_named(name, made["token"])), made["token_id"]

    def _wait_for_status(self, token: str, status: int) -> None:
        until(f"a token is answered with {status}", lambda: self._with(f"Bearer {token}", "a token") == status)

    def _with(self, authorization: str, place: str) -> int:
        return self.http(place, headers={"authorization": authorization}).status_code


def _bare(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with these settings and no other Keyferry setting."""
    return {name: text for name, text in os.environ.items() if not name.startswith("KEYFERRY_")} | dict(environment)


def chat(model: str, *, stream: bool = False) -> dict[str, object]:
    """Return a chat completion body."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
