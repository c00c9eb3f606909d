"""Every command in the documents works, in the order in which a reader meets them."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keyferry.cli.installation import HOME_NAME
from tests.support.providers.upstream import (
    ProviderRequest,
    Reply,
    Upstream,
    completion,
    failing,
    pieces_of,
    running_upstream,
    stream_of,
)
from tests.support.repository.documents import (
    PYTHON,
    SHELL,
    Block,
    Document,
    commands,
    contains_message,
    documented_messages,
    documents,
)
from tests.support.repository.files import ROOT
from tests.support.system.command_line import run_command
from tests.support.system.forked_commands import forked_commands
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

DOCUMENTS = documents()
RUNNABLE = [document for document in DOCUMENTS if any(b.language in SHELL | PYTHON for b in document.blocks)]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_file())
MAX_EXAMPLE_LINES = 60
PAGE_SECONDS = 480
"""A generous timeout: the longest page has about thirty commands, each of them a process."""

NOT_RUN_HERE = {
    "make up": "tests/integration/embedded/test_up.py::test_everything_starts_and_stops_in_order",
    "make down": "tests/integration/embedded/test_up.py::test_a_second_start_keeps_data_ports_and_secrets",
    "KEYFERRY_BILLING=demo make up": "tests/e2e/conftest.py::system",
    "KEYFERRY_EGRESS_ALLOW=127.0.0.0/8 make up": "tests/support/system/keyferry_system.py::running_system",
    "keyferry keys import": "tests/integration/cli/test_keys.py::test_platform_keys_are_imported_once",
}
"""Commands that are not run here, because the system is running already, and what runs them instead."""

AS_INSTALLED = ("README.md", "shared/README.md", "docs/guides/own-endpoint.md")
"""Pages whose `keyferry` is the installed program; in the others it is forked, since importing takes most of its time."""

_LAST_TOKEN_ID = (
    '"$(keyferry tokens list --tenant acme --json'
    " | python -c \"import json, sys; print(json.load(sys.stdin)['tokens'][-1]['token_id'])\")\""
)
_KEY_ID = (
    '"$(keyferry keys list --tenant {} --json'
    " | python -c \"import json, sys; print(json.load(sys.stdin)['keys'][{}]['key_id'])\")\""
)
KEY_FILES = ("openai.key", "spare.key", "new.key", "server.key")
"""Files in which readers have their provider keys."""
_SECRET = re.compile(r"kf_live_|sk-proj-\w{3}|Bearer \S")

EXPECTED = {
    "README.md": ['"content":"Hello"', "\nHello\n", "Say hello", "cost", "requests"],
    "docs/guides/first-request.md": [
        '"content":"Hello"', "data: [DONE]", "['echo']", '" curl"', "Hello from the SDK", "tokens: ",
        "Say hello", "chosen: echo", "MODEL", "created acme", '"owned_by":"echo"', "revoked tok_", "revoked",
        "the key works (valid", "Hello from the account", "chosen: openai/gpt-4o-mini",
    ],
    "docs/guides/requests.md": [
        "REQUEST", "requests match", "echo", "Outcome   completed", '"end":true',
    ],
    "docs/guides/costs.md": ["this request", "$0.0003", "below the provider's cost", "would correct 0 of"],
    "docs/guides/own-endpoint.md": [
        "saved ollama", "lists 1 model", "ollama/llama3.2", "Rayleigh scattering", "Rayleigh scattering",
        "chosen: ollama/llama3.2",
        "unknown", "removed ollama", "(gpu, model server, ", "llama3.2 answers",
        "Rayleigh scattering", "chosen: gpu/llama3.2", "requests of demo are refused",
    ],
    "docs/guides/keys.md": [
        "created globex", "(OpenAI, main, sk-proj-", "): valid", "reachable", "accepted", "has credit", "gpt-4o-mini answers",
        "the key works (valid", '"content": "Hello from the account"', "chosen: openai", "the key works", "LABEL", "main",
        "tested key_", "spare", "changed key_", "production", "disabled", "enabled", "$80", "requests use its own keys only",
        "requests use its own keys, then the platform's", "rotated key_", "reverted key_",
        "OpenAI requests continue with globex's own production", "platform has no provider keys",
        "data keys are encrypted under k1", "all of them can be decrypted", "are encrypted under k2",
        "all of them can be decrypted", "destroyed 1 provider keys", "key.lease",
        "the audit log is complete and unchanged",
    ],
    "docs/guides/integrations.md": [
        "created tyrell", "added isec_", "https://hooks.slack.com/…", "on call", "rotated isec_", "version 2",
        "the previous version is valid until", "removed isec_", "integration_secret.rotate",
    ],
    "docs/guides/management-api.md": [
        '"tenant":"initech"', '"key_policy":"own_then_platform"', '"next":null', '"label":"billing service"', '"revoked_at":"',
        '"base_url":"https://llm.example.com/v1"', '"next":null', '"name":"lab"', '"status":"valid"',
        '"masked":"sk-proj-…', '"result":"valid"', '"keys":1', '"label":"production"',
        '"version":2', '"version":3', '"next":null', '"keys_left":0', '"requests":0',
        '"running":false', '"undecryptable":[]', '"keys":0',
        '"action":"key.add"', '"faults":[]', '"faults":[]', '"name":"openai"',
        '"best_for":', '"fingerprint":',
    ],
    "docs/guides/rules.md": [
        "created hooli", "0 rules: nothing is wrong", "no difference to no rules", "nothing was published",
        "published version 1 of hooli", "VERSION", "the first version",
    ],
    "docs/guides/recommendations.md": ["created hooli-labs", "nothing to recommend", "no completed requests"],
    "docs/guides/usage.md": [
        "requests", "MODEL", "total", "DAY", "total", "HOUR", "nothing was used", "attempts failed", "P95",
        "own keys and servers", "LIKELY", "all tenants, ", "TENANT", "REQUESTS ON", "OpenRouter",
        "as diverse as",
    ],
    "docs/guides/credits.md": [
        "created umbrella", "granted 50000", "umbrella has 50000 credits ($50)", "low at 5000", "adjusted by -250",
        "adjustment", "grant",
    ],
    "docs/guides/invoices.md": [
        "created bluth", "granted 10000", "MONTH", "10.000000", "closing balance", "fingerprint",
        "wrote the statement of bluth", "to statement.pdf", "to statement.csv",
    ],
    "docs/guides/internal-services.md": [
        "created soylent", "created crm of soylent", "internal-client.soylent.crm", "Hello from the CRM req_", "OPERATION",
        "revoked crm of soylent", "revoked 20",
    ],
    "docs/guides/operating.md": [
        "usage-ledger", "all is well", '"status":"ready"', "router: restarted", "provider-worker: restarted", "router.log",
        '"message": "ready"', "all tables are current",
    ],
    "docs/guides/backup.md": ["age1", "complete: backup of", "database", "is as it was at", "see docs/guides/backup.md"],
    "docs/guides/monitoring.md": ["OBJECTIVE", "routing", "99.9 %", '"burn_permille"'],
    "docs/runbooks/error-budget-routing.md": ["BUDGET LEFT", "TENANT"],
    "docs/guides/troubleshooting.md": ["all tables are current"],
    "shared/README.md": [
        "kf.v1.chat.request.acme", "Hello over the bus CompletionUsage(", "Hello over the bus", "Usage: keyferry",
        "tenant-directory",
    ],
}  # fmt: skip
"""Expected output, in this order."""


def reply_as_model_server(request: ProviderRequest) -> Reply:
    """Answer like the model server on 11434 in the guide."""
    text = "Rayleigh scattering"
    if request.method == "GET":
        return listing("llama3.2")
    if request.body.get("stream"):
        return stream_of(["Rayleigh", " scattering"])
    return completion(text, model=request.body["model"])


def account(request: ProviderRequest) -> Reply:
    """Answer like OpenAI, accepting only the keys in the reader's files."""
    if request.headers.get("Authorization") not in {f"Bearer {_provider_key(file)}" for file in KEY_FILES}:
        return failing(401, {"message": "Incorrect API key provided", "type": "error", "code": "invalid_api_key"})
    if request.method == "GET":
        return listing("gpt-4o-mini")
    if request.body.get("stream"):
        return stream_of(["Hello ", "from the account"])
    return completion("Hello from the account", model=request.body["model"])


def listing(*models: str) -> Reply:
    """Return a list of models in OpenAI's format."""
    body = {"object": "list", "data": [{"id": model, "object": "model"} for model in models]}
    return Reply(200, {"content-type": "application/json"}, pieces_of(json.dumps(body).encode()))


def _provider_key(file: str) -> str:
    return f"sk-proj-{file.partition('.')[0]}-{'Ab3' * 12}"


@pytest.fixture(scope="module")
def openai_account() -> Iterator[Upstream]:
    with running_upstream(account) as running:
        yield running


@pytest.fixture(scope="module")
def model_server() -> Iterator[Upstream]:
    with running_upstream(reply_as_model_server) as running:
        yield running


@pytest.fixture(scope="module")
def keyferry_function(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with forked_commands(tmp_path_factory.mktemp("commands")) as definition:
        yield definition


@pytest.fixture(scope="module")
def substitutions(system: KeyferrySystem, model_server: Upstream, openai_account: Upstream) -> dict[str, str]:
    """Return what replaces the reader's values in the documents."""
    raw = system.openai().chat.completions.with_raw_response.create(
        model="echo", messages=[{"role": "user", "content": "to be explained"}]
    )
    request_id = raw.headers["x-request-id"]
    system.attempts(request_id)
    wait_until_keys_are_tested(system, openai_account)
    return {
        "127.0.0.1:8400": system.http_url.removeprefix("http://"),
        "127.0.0.1:8401": str(system.state["console_url"]).removeprefix("http://"),
        '"provider": "openai"': f'"provider": "openai", "base_url": "{openai_account.base_url}"',
        "127.0.0.1:11434": f"127.0.0.1:{model_server.port}",
        "REQUEST_ID": request_id,
        "TOKEN_ID": _LAST_TOKEN_ID,
        "--provider openai": f"--provider openai --base-url {openai_account.base_url}",
        " KEY_ID": f" {_KEY_ID.format('globex', 0)}",
        "SPARE_ID": _KEY_ID.format("globex", 1),
        "SERVER_KEY_ID": _KEY_ID.format("demo", 0),
    }


def wait_until_keys_are_tested(system: KeyferrySystem, provider: Upstream) -> None:
    """Wait until the vault knows a worker: a reader starts later than a test, and runs each command once."""
    failed_attempts = ("keys", "try", "--provider", "openai", "--base-url", provider.base_url, "--tenant", "demo")
    key = f"{_provider_key(KEY_FILES[0])}\n"
    until(
        "a worker tests keys",
        lambda: run_command((*failed_attempts, "--key-file", "-"), system.environment, key).status == 0,
    )


@pytest.fixture
def checkout(system: KeyferrySystem, substitutions: dict[str, str], tmp_path: Path) -> Path:
    """Make a directory that looks like the repository in which `make up` is running."""
    for entry in ROOT.iterdir():
        if entry.name not in ("examples", HOME_NAME, ".venv", ".git"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / HOME_NAME).symlink_to(system.home)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "examples").mkdir()
    for name in KEY_FILES:
        (tmp_path / name).write_text(f"{_provider_key(name)}\n")
    for name in EXAMPLES:
        (tmp_path / "examples" / name).write_text(substitute((ROOT / "examples" / name).read_text(), substitutions))
    return tmp_path


def substitute(text: str, substitutions: dict[str, str]) -> str:
    for documented, here in substitutions.items():
        text = text.replace(documented, here)
    return text


def to_script(block: Block) -> str:
    """Return a block as lines of one shell session."""
    if block.language in PYTHON:
        return f"{shlex.quote(sys.executable)} - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK"
    return "\n".join(command for command in commands(block.text) if command not in NOT_RUN_HERE)


def files_in(checkout: Path) -> set[str]:
    """Return the files in the checkout itself, without those that are linked from the repository or belong to a test."""
    return {path.name for path in checkout.iterdir() if path.is_file() and not path.is_symlink()}


def not_ignored(names: set[str], repository: Path) -> list[str]:
    """Return the files that `git status` would show in a repository with this project's .gitignore."""
    repository.mkdir()
    (repository / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    for name in names:
        (repository / name).touch()
    git = ["git", "-c", "core.excludesFile=/dev/null"]
    subprocess.run([*git, "init", "--quiet"], cwd=repository, check=True)
    status = [*git, "status", "--porcelain", "--untracked-files=all"]
    shown = subprocess.run(status, cwd=repository, check=True, capture_output=True, text=True).stdout
    return [line.removeprefix("?? ") for line in shown.splitlines() if line != "?? .gitignore"]


def run(script: str, where: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a shell with a clean environment.

    curl fails on HTTP errors and retries for a while, since a change takes a moment to reach every process.
    """
    curl_home = where / "curl"
    curl_home.mkdir(exist_ok=True)
    (curl_home / ".curlrc").write_text(
        "fail-with-body\nsilent\nshow-error\nretry 30\nretry-delay 1\nretry-all-errors\n"
    )
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(where),
        "CURL_HOME": str(curl_home),
        "LANG": "C.UTF-8",
    }
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=where,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PAGE_SECONDS,
        check=False,
    )


@pytest.mark.timeout(PAGE_SECONDS + 60)
@pytest.mark.parametrize("document", RUNNABLE, ids=lambda document: document.name)
def test_every_command_works_in_the_order_of_the_page(
    checkout: Path, substitutions: dict[str, str], keyferry_function: str, document: Document
) -> None:
    blocks = [block for block in document.blocks if block.language in SHELL | PYTHON]
    before = files_in(checkout)
    script = "\n".join(f"echo '--- {block.where}'\n{substitute(to_script(block), substitutions)}" for block in blocks)
    before_all = "" if document.name in AS_INSTALLED else keyferry_function
    done = run(f"{before_all}\n{script}", checkout)
    assert done.returncode == 0, f"the last block below failed:\n{done.stdout}"
    rest = done.stdout
    for fragment in EXPECTED.get(document.name, []):
        _, found, rest = rest.partition(fragment)
        assert found, f"{document.name}: {fragment!r} is missing, or out of order:\n{done.stdout}"
    written = files_in(checkout) - before | set(KEY_FILES)
    assert not_ignored(written, checkout / "repository") == [], "a reader could commit them: add them to .gitignore"
    secret = [name for name in written if _SECRET.search((checkout / name).read_text(errors="replace"))]
    exposed = [name for name in secret if name not in KEY_FILES and (checkout / name).stat().st_mode & 0o077]
    assert not exposed, "other users of the machine could read them: write them under `umask 077`"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_short(name: str) -> None:
    """test_examples.py runs them."""
    assert (ROOT / "examples" / name).read_text().count("\n") < MAX_EXAMPLE_LINES


def test_commands_that_are_not_run_here_are_run_elsewhere() -> None:
    present = {c for d in DOCUMENTS for b in d.blocks if b.language in SHELL for c in commands(b.text)}
    assert NOT_RUN_HERE.keys() <= present, f"no document has {NOT_RUN_HERE.keys() - present} any more"
    for command, instead in NOT_RUN_HERE.items():
        file, _, function = instead.partition("::")
        assert f"def {function}(" in (ROOT / file).read_text(), f"{instead} is gone; what runs {command!r} now?"
    recipes = (ROOT / "Makefile").read_text()
    for target in ("up", "down"):
        assert f"-m deploy.embedded {target}" in recipes, "make runs something else"


# --- errors


def refuse(request: ProviderRequest) -> Reply:
    status = int(request.body["model"].rpartition("-")[2])
    code = {401: "invalid_api_key", 402: "insufficient_quota", 429: "rate_limit_exceeded"}[status]
    return failing(status, {"message": "the endpoint's own words", "type": "error", "code": code})


@pytest.fixture(scope="module")
def provoked(system: KeyferrySystem) -> Iterator[KeyferrySystem]:
    with running_upstream(refuse) as upstream:
        for name, base_url, more in (
            ("documented-refusing", upstream.base_url, ()),
            ("documented-forbidden", "http://10.255.255.1:8000/v1", ()),
            ("documented-deaf", "http://127.0.0.1:1/v1", ()),
            ("documented-off", upstream.base_url, ("--disabled",)),
        ):
            system.cli(
                "endpoints", "add", name, "--base-url", base_url, "--no-probe", "--model", f"{name}-model", *more
            )
        until("all are offered", lambda: "documented-deaf-model" in {m.id for m in system.openai().models.list().data})
        yield system
        for name in ("refusing", "forbidden", "deaf", "off"):
            system.cli("endpoints", "rm", f"documented-{name}")


@pytest.mark.parametrize(
    ("status", "model"),
    [
        (404, "gpt-99"),
        (402, "documented-refusing/m-402"),
        (424, "documented-refusing/m-401"),
        (429, "documented-refusing/m-429"),
        (502, "documented-forbidden/m"),
        (502, "documented-deaf/m"),
        (503, "documented-off/m"),
    ],
)
def test_errors_of_the_http_api_are_in_the_guide(provoked: KeyferrySystem, status: int, model: str) -> None:
    def answer() -> dict[str, Any] | None:
        body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
        headers = {"authorization": f"Bearer {provoked.token}"}
        response = httpx.post(f"{provoked.http_url}/v1/chat/completions", json=body, headers=headers, timeout=30)
        error: dict[str, Any] = response.json()["error"]
        return error if response.status_code == status else None

    error = until(f"{model} is answered with {status}", answer)
    rows = [row for row in documented_messages() if row.get("status") == str(status)]
    assert any(contains_message(text, row["message"]) for row in rows for text in (error["message"], error["code"])), (
        error
    )
