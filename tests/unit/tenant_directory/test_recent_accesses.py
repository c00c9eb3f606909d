"""Accesses of operators that one entry of the audit log stands for."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from keyferry.contracts.access_management import COALESCED_SECONDS, RecordAccess
from services.tenant_directory import recent_accesses
from services.tenant_directory.recent_accesses import RecentAccesses

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
ACCESS = RecordAccess(tenant="acme", actor="console:operator", resource="provider-keys", source="10.1.2.3")


def test_one_entry_stands_for_five_minutes() -> None:
    recent = RecentAccesses()
    assert not recent.includes(ACCESS, NOW)
    recent.add(ACCESS, NOW)
    last = timedelta(seconds=COALESCED_SECONDS)
    assert recent.includes(ACCESS, NOW)
    assert recent.includes(ACCESS.model_copy(update={"source": "10.9.9.9"}), NOW + last - timedelta(microseconds=1))
    assert not recent.includes(ACCESS, NOW + last)
    assert not recent.includes(ACCESS, NOW - timedelta(seconds=1)), "a clock that was set back hides nothing"


@pytest.mark.parametrize("changed", [{"tenant": "globex"}, {"actor": "ann"}, {"resource": "usage"}])
def test_each_operator_tenant_and_resource_has_its_own(changed: dict[str, str]) -> None:
    recent = RecentAccesses()
    recent.add(ACCESS, NOW)
    assert not recent.includes(ACCESS.model_copy(update=changed), NOW)


def test_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_accesses, "_MOST", 2)
    recent = RecentAccesses()
    accesses = [ACCESS.model_copy(update={"tenant": name}) for name in ("a", "b", "c")]
    for access in accesses:
        recent.add(access, NOW)
    assert [recent.includes(access, NOW) for access in accesses] == [False, True, True]


@pytest.mark.parametrize(
    "resource", ["", "a\x00b", "a b", "A", "\ud800", "x" * 65, "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"]
)
def test_what_is_no_resource_is_refused(resource: str) -> None:
    with pytest.raises(ValidationError):
        RecordAccess(tenant="acme", actor="x", resource=resource)


@pytest.mark.parametrize("source", ["", "a\x00", "10.1.2.3\n", "\ud800", "1" * 65, "a b"])
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(ValidationError):
        RecordAccess(tenant="acme", actor="x", resource="usage", source=source)
