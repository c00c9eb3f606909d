"""What the directory says of teams, members and client tokens that alert rules name."""

import pytest

from keyferry.contracts.alert_metrics import ScopeField
from keyferry.contracts.alert_references import AlertReference
from services.tenant_directory.references import KnownReferences, describe_missing

KNOWN = KnownReferences({"research"}, {"mem_ann"}, {"tok_1": False, "tok_2": True})


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        (ScopeField.TEAM, "research", None),
        (ScopeField.TEAM, "sales", "there is no team sales (any more)"),
        (ScopeField.MEMBER, "mem_ann", None),
        (ScopeField.MEMBER, "mem_bob", "there is no member mem_bob (any more)"),
        (ScopeField.CLIENT_TOKEN, "tok_1", None),
        (ScopeField.CLIENT_TOKEN, "tok_2", "the client token tok_2 is revoked"),
        (ScopeField.CLIENT_TOKEN, "tok_3", "there is no client token tok_3"),
        (ScopeField.MODEL, "gpt-4o", None),
        (ScopeField.OPERATION, "summarize", None),
    ],
)
def test_each_thing_that_is_missing_has_a_reason(field: ScopeField, value: str, reason: str | None) -> None:
    found = describe_missing([AlertReference(field=field, value=value)], KNOWN)
    if reason is None:
        assert found == []
        return
    (missing,) = found
    assert (missing.field, missing.value) == (field, value)
    assert missing.reason.startswith(reason)
