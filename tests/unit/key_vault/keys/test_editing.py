"""Edits of a key and their effects."""

from datetime import timedelta
from decimal import Decimal

import pytest

from keyferry.contracts.key import EditKey, KeyStatus, ProviderKey
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys import editing, messages
from tests.unit.key_vault.keys.stored_keys import NOW, check, key


def apply_edit(stored: ProviderKey, **changes: object) -> ProviderKey:
    command = EditKey.model_validate({"tenant": "acme", "key_id": stored.key_id} | changes)
    return editing.apply_edit(stored, command, NOW, 0.5)


def test_unnamed_fields_stay() -> None:
    stored = key(last=check(), monthly_limit_usd=Decimal(5), allowed_models=["gpt-4o"])
    changed = apply_edit(stored, label="spare")
    assert changed.model_dump(exclude={"label", "next_test_at"}) == stored.model_dump(exclude={"label", "next_test_at"})
    assert editing.name_changes(stored, changed) == "label"


def test_a_key_has_one_scope_which_an_edit_replaces() -> None:
    stored = key(last=check()).model_copy(update={"team": "research"})
    moved = apply_edit(stored, member="mem_ann")
    assert (moved.team, moved.member) == (None, "mem_ann")
    back = apply_edit(moved, team="sales")
    assert (back.team, back.member) == ("sales", None)
    assert editing.name_changes(stored, moved) == "team, member"
    assert apply_edit(back, clear=["team"]).team is None
    assert apply_edit(stored, label="spare").team == "research"
    with pytest.raises(RequestRejected, match="one of them"):
        apply_edit(stored, team="sales", member="mem_ann")
    with pytest.raises(RequestRejected, match="set and cleared"):
        apply_edit(stored, team="sales", clear=["team"])
    with pytest.raises(RequestRejected, match="the platform's keys"):
        editing.check_key_scope("platform", "sales", None)


def test_limit_applies_at_once() -> None:
    stored = key(last=check(), spent_usd=Decimal("7.5"))
    assert apply_edit(stored, monthly_limit_usd="7.5").over_limit
    assert not apply_edit(stored, monthly_limit_usd="7.51").over_limit
    assert not apply_edit(apply_edit(stored, monthly_limit_usd="1"), clear=["monthly_limit_usd"]).over_limit


def test_later_date_restores_an_expired_key() -> None:
    expired = key(status=KeyStatus.EXPIRED, last=check(), expires_at=NOW - timedelta(days=1))
    assert apply_edit(expired, label="x").status is KeyStatus.EXPIRED
    assert apply_edit(expired, expires_at=NOW + timedelta(days=1)).status is KeyStatus.VALID
    assert apply_edit(expired, clear=["expires_at"]).status is KeyStatus.VALID


def test_disabling_and_enabling_does_not_restore_an_expired_key() -> None:
    expired = key(status=KeyStatus.EXPIRED, last=check(), expires_at=NOW - timedelta(days=1))
    off = apply_edit(expired, disabled=True)
    assert off.status is KeyStatus.DISABLED
    assert apply_edit(off, disabled=False).status is KeyStatus.EXPIRED


def test_dates_without_a_zone_are_utc_and_in_the_future() -> None:
    later = apply_edit(key(), expires_at=(NOW + timedelta(hours=1)).replace(tzinfo=None).isoformat())
    assert later.expires_at == NOW + timedelta(hours=1)
    with pytest.raises(RequestRejected, match="has passed"):
        apply_edit(key(), expires_at=NOW.isoformat())


def test_field_set_and_cleared_is_rejected() -> None:
    with pytest.raises(RequestRejected, match="monthly_limit_usd cannot be set and cleared"):
        apply_edit(key(), monthly_limit_usd="1", clear=["monthly_limit_usd"])


def test_messages_name_the_limit_and_the_steps() -> None:
    spent = key(monthly_limit_usd=Decimal("10.00"), spent_usd=Decimal("10.5"))
    assert "$10.5 of $10" in messages.describe_over_limit(spent)
    failed = check()
    assert "reachable: yes in 12 ms" in messages.describe_steps(failed.steps)
    assert messages.describe_test(key(), failed).endswith("was tested: valid; it works")
