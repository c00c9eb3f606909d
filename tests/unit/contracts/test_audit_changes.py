"""What the details of an audit event say about a change."""

from decimal import Decimal

import pytest

from keyferry.contracts.audit import UncountedAuditEvent
from keyferry.contracts.audit_changes import MAX_FIELDS, MAX_VALUE, describe_changes


def test_fields_that_differ_have_both_values() -> None:
    before = {"name": "Acme", "limits": {"rpm": 60, "tpm": None}, "suspended": False, "tags": ["a"]}
    after = {"name": "Acme", "limits": {"rpm": 120, "tpm": 9}, "suspended": True, "tags": ["a", "b"]}
    assert describe_changes(before, after) == {
        "limits.rpm": "60 → 120",
        "limits.tpm": "not set → 9",
        "suspended": "false → true",
        "tags": "a → a, b",
    }


def test_nothing_and_a_missing_field_are_the_same() -> None:
    assert describe_changes({"a": None}, {}) == {}
    assert describe_changes({"limits": None}, {"limits": {"rpm": 1}}) == {"limits.rpm": "not set → 1"}
    assert describe_changes({"price": Decimal("0.10")}, {}) == {"price": "0.1 → not set"}


@pytest.mark.parametrize(
    "name", ["client_secret", "token_digest", "fingerprint", "password", "token", "x.sealed", "API_KEY"]
)
def test_secrets_are_not_shown(name: str) -> None:
    assert describe_changes({name: "before"}, {name: "after"}) == {name: "changed"}


def test_long_values_and_many_fields_are_cut() -> None:
    [change] = describe_changes({}, {"note": "x" * 5000}).values()
    assert len(change) <= len("not set → ") + MAX_VALUE
    found = describe_changes({}, {f"field{number:03}": number for number in range(MAX_FIELDS + 5)})
    assert (len(found), found["more"]) == (MAX_FIELDS + 1, "5 other fields")


def test_names_and_values_of_any_form_fit_into_an_event() -> None:
    odd = {"a rule\x00 with\nspaces": "v\x00\u202e\ud800", "ü" * 300: 1, "of": [{"model": "m", "price": None}]}
    details = describe_changes({}, odd)
    event = UncountedAuditEvent.model_validate(
        {
            "event_id": "evt_1",
            "service": "router",
            "tenant": "acme",
            "actor": "ann",
            "action": "a.b",
            "target": "t",
            "outcome": "done",
            "details": details,
            "at": "2026-11-30T00:00:00Z",
        }
    )
    assert event.details["of"] == "not set → model m"
    assert UncountedAuditEvent.decode(event.encode()) == event


@pytest.mark.parametrize(
    "names", [("\u65e5\u672c", "\u4e2d\u56fd"), ("r" * 120 + "1", "r" * 120 + "2")], ids=["other script", "long"]
)
def test_fields_whose_names_look_the_same_are_all_shown(names: tuple[str, str]) -> None:
    changes = describe_changes({}, {name: {"enabled": True, "share": 5} for name in names})
    assert len(changes) == 4
    assert sorted(changes.values()) == ["not set → 5"] * 2 + ["not set → true"] * 2
    assert all(len(name) <= 100 and name.isascii() for name in changes)
