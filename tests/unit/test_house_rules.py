"""The rules of the house that no linter knows: which room may do what, and what must never be in the tree."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository.files import repository_files

ROOT = Path(__file__).resolve().parents[2]
SERVICES = sorted(path.name for path in (ROOT / "services").iterdir() if (path / "app.py").is_file())

OUTER_ROOMS = frozenset({"app.py", "handlers.py", "store.py", "settings.py", "__main__.py", "__init__.py"})
EFFECTS = {
    "console": {"key_routes.py", "middleware.py", "reading_routes.py", "service_client.py", "tenant_context.py"},
    "ingress": {"http_exchange.py"},
    "provider_worker": {
        "attempt.py",
        "http_call.py",
        "tester.py",
        "attempt_registry.py",
        "provider_call.py",
        "frame_writer.py",
        "echo_call.py",
        "lease_client.py",
        "registrar.py",
        "player.py",
        "resender.py",
        "spool.py",
    },
    "usage_ledger": {
        "audit_store.py",
        "audit_log.py",
        "database.py",
        "ingestion.py",
        "key_spending.py",
        "record_batches.py",
        "usage_store.py",
    },
    "health_monitor": {"attempt_batches.py", "publisher.py"},
    "router": set(),
    "tenant_directory": set(),
    "key_vault": {
        "checks.py",
        "custody.py",
        "data_key_rows.py",
        "data_keys.py",
        "delivery.py",
        "fingerprint_rows.py",
        "lease_rows.py",
        "lease_statements.py",
        "management.py",
        "notice_rows.py",
        "notices.py",
        "refusals.py",
        "retest.py",
        "rotation.py",
        "spending.py",
        "stewardship.py",
        "tables.py",
        "term_rows.py",
        "term_watch.py",
        "transactions.py",
        "verification.py",
        "worker_rows.py",
    },
}
"""Files that do something and are neither a door nor storage. A name here is a decision."""
EFFECT_FOLDERS = {"upstream", "migrations", "keks"}

IMPURE = frozenset(
    {"asyncio", "faststream", "nats", "httpx", "aiohttp", "sqlalchemy", "psycopg", "uvicorn", "opentelemetry", "socket"}
)
IMPURE_INTERNAL = ("keyferry.runtime",)
PURE_INTERNAL = frozenset({"keyferry.runtime.http.problem"})
CLOCKS = {("time", "time"), ("time", "monotonic"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}

MAX_FILE_LINES = 520
MAX_FUNCTION_LINES = 70


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def domain_files() -> Iterator[Path]:
    """Whatever is not an outer room or a named effect file is domain."""
    for service in SERVICES:
        base = ROOT / "services" / service
        for path in sorted(base.rglob("*.py")):
            inside = path.relative_to(base)
            if inside.parts[0] in EFFECT_FOLDERS or inside.name in OUTER_ROOMS:
                continue
            if inside.name in EFFECTS[service]:
                continue
            yield path


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", list(domain_files()), ids=lambda path: str(path.relative_to(ROOT)))
def test_domain_files_think_and_do_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_text())
    forbidden = [
        name
        for name in imports(tree)
        if name.split(".")[0] in IMPURE or (name.startswith(IMPURE_INTERNAL) and name not in PURE_INTERNAL)
    ]
    assert not forbidden, f"{path.relative_to(ROOT)} is a domain file and imports {forbidden}"
    asynchronous = [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    assert not asynchronous, f"{path.relative_to(ROOT)} is a domain file and has async functions: {asynchronous}"
    clocks = [
        f"line {node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and (node.func.value.id, node.func.attr) in CLOCKS
    ]
    assert not clocks, (
        f"{path.relative_to(ROOT)} is a domain file and reads a clock: {clocks}; take `now` as an argument"
    )


def test_every_service_has_the_same_rooms() -> None:
    for service in SERVICES:
        base = ROOT / "services" / service
        for room in ("README.md", "app.py", "settings.py", "handlers.py", "__main__.py"):
            assert (base / room).is_file(), f"services/{service} lacks {room}"
        assert (base / "store.py").is_file() == (base / "migrations" / "versions").is_dir()
        readme = (base / "README.md").read_text().lower()
        for heading in ("owns", "subscribes", "publishes", "never"):
            assert heading in readme, f"services/{service}/README.md lacks the heading {heading!r}"


def test_no_file_is_called_for_anything_and_everything() -> None:
    vague = {"utils", "helpers", "common", "misc", "util", "helper", "base"}
    found = [
        str(path.relative_to(ROOT))
        for path in python_files("services", "shared", "deploy", "tests")
        if path.stem in vague
    ]
    assert not found


def test_no_float_where_money_is_counted() -> None:
    money = [
        ROOT / "shared/keyferry/contracts/money.py",
        ROOT / "services/usage_ledger/pricing.py",
        ROOT / "services/router/list_prices.py",
        *(ROOT / "shared/keyferry/pricing").glob("*.py"),
    ]
    assert len(money) >= 6
    for path in money:
        tree = ast.parse(path.read_text())
        floats = [
            node.lineno
            for node in ast.walk(tree)
            if (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.Name) and node.id == "float")
        ]
        assert not floats, f"{path.relative_to(ROOT)} uses a float in lines {floats}"


def test_subjects_are_spelled_only_in_the_topology() -> None:
    spelled = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in python_files("services", "shared", "deploy")
        if path.name != "topology.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("kf.v1.")
    ]
    assert not spelled


def test_one_folder_imports_an_http_client() -> None:
    users = [
        str(path.relative_to(ROOT))
        for path in python_files("services")
        if any(name.split(".")[0] in ("httpx", "aiohttp") for name in imports(ast.parse(path.read_text())))
    ]
    assert users
    assert all(user.startswith("services/provider_worker/upstream/") for user in users), users


def test_sizes_ratchet() -> None:
    """Numbers to lower when the largest shrinks; raising one is a decision."""
    for path in python_files("services", "shared", "deploy"):
        text = path.read_text()
        assert text.count("\n") <= MAX_FILE_LINES, f"{path.relative_to(ROOT)} is too long to read at once"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                assert length <= MAX_FUNCTION_LINES or node.name == "create_app", (
                    f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {length} lines"
                )


def test_broad_excepts_say_why() -> None:
    """A swallowed error is a lie; at the edge of a loop it needs its reason beside it."""
    for path in python_files("services", "shared", "deploy"):
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse("\n".join(lines))):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
            ):
                near = "".join(lines[node.lineno - 1 : node.body[0].lineno])
                assert "#" in near, f"{path.relative_to(ROOT)}:{node.lineno} catches everything without a reason"


def test_nothing_of_the_building_machine_is_in_the_tree() -> None:
    needles = ["/" + "work/main", "/" + "work/shared", "/opt" + "/pypi"]
    for name in repository_files():
        path = ROOT / name
        if path.suffix in (".png", ".ico", ".lock"):
            continue
        text = path.read_text(errors="replace")
        for needle in needles:
            assert needle not in text, f"{name} names {needle}"
