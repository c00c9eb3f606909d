"""A process that holds keys dumps no core and denies its own user access to its memory."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable

import pytest

from keyferry.contracts.topology import Role
from keyferry.runtime.process import hardening, lifecycle

_REPORT = """
import ctypes, json, resource
from keyferry.runtime.process.hardening import harden
libc = ctypes.CDLL(None)
before = libc.prctl(3, 0, 0, 0, 0)
harden()
print(json.dumps([before, libc.prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE)]))
"""
"""3 is PR_GET_DUMPABLE."""


def test_core_dumps_and_memory_access_are_disabled() -> None:
    done = subprocess.run([sys.executable, "-c", _REPORT], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [1, 0, [0, 0]]


@pytest.mark.parametrize("role", [Role.PROVIDER_WORKER, Role.KEY_VAULT])
def test_services_that_hold_keys_are_hardened_before_they_start(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def start(role: Role, create_app: Callable[[], lifecycle.Service]) -> None:
        order.append(role.value)

    monkeypatch.setattr(hardening, "harden", lambda: order.append("hardened"))
    monkeypatch.setattr(lifecycle, "main", start)
    runpy.run_module(f"services.{role.replace('-', '_')}", run_name="__main__")
    assert order == ["hardened", role.value]
