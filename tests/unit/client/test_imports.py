"""The client needs only the base dependencies of the library."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CLIENT = ROOT / "shared" / "keyferry" / "client"

PROGRAM = """
import importlib.abc, json, sys

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Blocked())
import asyncio
import keyferry.client, keyferry.client.testing

async def main():
    fake = keyferry.client.testing.FakeKeyferry()
    answer = await fake.chat(model="echo", messages=[{"role": "user", "content": "hello"}])
    assert answer.text == "hello" and fake.requests[0].head.traceparent is None

asyncio.run(main())
print(json.dumps(sorted(sys.modules)))
"""


def test_client_works_with_the_base_dependencies_alone() -> None:
    project = tomllib.loads((ROOT / "shared" / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {line.split(">")[0].split("[")[0].split("=")[0].replace("-", "_") for line in extras}
    blocked = (names | {"opentelemetry", "fast_depends", "anyio", "aiohttp"}) - {"opentelemetry_sdk", "keyferry"}
    assert {"faststream", "httpx", "opentelemetry"} <= blocked
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, ",".join(blocked)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert not {name.split(".")[0] for name in loaded} & blocked


def test_client_imports_only_requests_addresses_and_backoff_from_the_runtime() -> None:
    imported = {
        node.module
        for path in CLIENT.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }
    assert {name for name in imported if name.startswith("keyferry.runtime")} == {
        "keyferry.runtime.backoff",
        "keyferry.runtime.bus.servers",
        "keyferry.runtime.request.assembly",
        "keyferry.runtime.request.call",
        "keyferry.runtime.request.inbox",
    }
