"""A process starts with few imports, and can import the rest afterwards."""

import gc
import importlib
import sys
from types import ModuleType

import pytest

from keyferry.contracts.topology import Role
from keyferry.runtime.process import boot


def test_a_hidden_module_can_be_imported_afterwards() -> None:
    hidden = "keyferry_no_such_module"
    with boot._without(hidden), pytest.raises(ModuleNotFoundError):
        importlib.import_module(hidden)
    assert hidden not in sys.modules


def test_an_imported_module_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    present = ModuleType("keyferry_present")
    monkeypatch.setitem(sys.modules, "keyferry_present", present)
    with boot._without("keyferry_present"):
        assert importlib.import_module("keyferry_present") is present


def test_the_service_is_run_with_its_role(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Role, object, bool]] = []
    monkeypatch.setattr(
        "keyferry.runtime.process.lifecycle.main",
        lambda role, create_app: ran.append((role, create_app, gc.isenabled())),
    )
    try:
        boot.boot("services.health_monitor.app", Role.HEALTH_MONITOR)
    finally:
        gc.enable()
    from services.health_monitor.app import create_app

    assert ran == [(Role.HEALTH_MONITOR, create_app, False)]
