"""The rules of client tokens."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from keyferry.contracts.limits import LimitChanges, Limits
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import ClientToken, CreateClientToken, PreviousSecret, Tenant, Tier, UpdateClientToken
from keyferry.contracts.token_scope import ClientApi
from services.tenant_directory import client_tokens
from services.tenant_directory.tenants import RuleViolation

NOW = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ACME = Tenant(tenant="acme", name="Acme", tier=Tier.FREE)


def command(expires_at: datetime | None = None) -> CreateClientToken:
    return CreateClientToken(tenant="acme", label="ci", digest="ab" * 32, last4="wXyZ", expires_at=expires_at)


def test_a_token_is_registered_for_its_owner() -> None:
    token = client_tokens.register(command(), ACME, "tok_1", NOW)
    assert (token.tenant, token.label, token.last4, token.token_id) == ("acme", "ci", "wXyZ", "tok_1")
    assert (token.created_at, token.expires_at, token.revoked_at) == (NOW, None, None)


def test_times_are_stored_in_utc() -> None:
    elsewhere = timezone(timedelta(hours=5, minutes=30))
    token = client_tokens.register(
        command((NOW + timedelta(days=1)).astimezone(elsewhere)), ACME, "tok_1", NOW.astimezone(elsewhere)
    )
    in_utc = client_tokens.register(command(NOW + timedelta(days=1)), ACME, "tok_1", NOW)
    assert token.encode() == in_utc.encode()


@pytest.mark.parametrize("early", [timedelta(), timedelta(microseconds=1), timedelta(days=4000)])
def test_an_expiry_in_the_past_is_rejected(early: timedelta) -> None:
    with pytest.raises(RuleViolation, match="in the past: give a later time") as caught:
        client_tokens.register(command(NOW - early), ACME, "tok_1", NOW)
    assert caught.value.code is ErrorCode.INVALID


def test_an_expiry_without_a_time_zone_is_rejected() -> None:
    with pytest.raises(RuleViolation, match="time zone"):
        client_tokens.register(command((NOW + timedelta(days=1)).replace(tzinfo=None)), ACME, "tok_1", NOW)


def test_a_suspended_tenant_gets_no_token() -> None:
    with pytest.raises(RuleViolation, match="End the suspension first") as caught:
        client_tokens.register(command(), ACME.model_copy(update={"suspended": True}), "tok_1", NOW)
    assert caught.value.code is ErrorCode.CONFLICT


def test_the_platform_gets_no_client_token() -> None:
    with pytest.raises(RuleViolation, match="makes no calls"):
        client_tokens.register(command(), ACME.model_copy(update={"tenant": "platform"}), "tok_1", NOW)


def test_a_token_keeps_the_time_of_its_first_revocation() -> None:
    token = client_tokens.register(command(), ACME, "tok_1", NOW)
    once = client_tokens.revoke(token, NOW + timedelta(seconds=1))
    assert once.revoked_at == NOW + timedelta(seconds=1)
    assert client_tokens.revoke(once, NOW + timedelta(days=1)) == once


def test_a_tokens_limits_are_set_and_changed() -> None:
    limited = command().model_copy(update={"limits": LimitChanges(rpm=5)})
    token = client_tokens.register(limited, ACME, "tok_1", NOW)
    assert token.limits == Limits(rpm=5)
    changed = client_tokens.update(
        token,
        UpdateClientToken(tenant="acme", token_id="tok_1", limits=LimitChanges(rpm="default", concurrency=2)),
        NOW,
    )
    assert changed.limits == Limits(concurrency=2)


def test_a_revoked_token_and_an_empty_change_are_rejected() -> None:
    token = client_tokens.register(command(), ACME, "tok_1", NOW)
    empty = UpdateClientToken(tenant="acme", token_id="tok_1")
    with pytest.raises(RuleViolation, match="give at least one of label, models"):
        client_tokens.update(token, empty, NOW)
    change = empty.model_copy(update={"limits": LimitChanges(rpm=1)})
    with pytest.raises(RuleViolation, match="revoked, for good"):
        client_tokens.update(client_tokens.revoke(token, NOW), change, NOW)


def updated(token: ClientToken, **changes: object) -> ClientToken:
    return client_tokens.update(
        token, UpdateClientToken.model_validate({"tenant": "acme", "token_id": "tok_1", **changes}), NOW
    )


def test_scopes_are_set_changed_and_cleared() -> None:
    scoped = command().model_copy(update={"allowed_operations": ["search"], "allowed_apis": [ClientApi.CHAT]})
    token = client_tokens.register(scoped, ACME, "tok_1", NOW)
    assert (token.allowed_operations, token.allowed_apis, token.allowed_origins) == (["search"], ["chat"], None)
    changed = updated(token, label="new", allowed_origins=["https://a.example"], clear=["allowed_operations"])
    assert (changed.label, changed.allowed_operations, changed.allowed_apis) == ("new", None, ["chat"])
    assert changed.allowed_origins == ["https://a.example"]
    with pytest.raises(RuleViolation, match="allowed_apis is both set and cleared"):
        updated(token, allowed_apis=["chat"], clear=["allowed_apis"])


def test_an_expiry_is_changed_and_cleared() -> None:
    token = client_tokens.register(command(NOW + timedelta(days=1)), ACME, "tok_1", NOW)
    assert updated(token, expires_at=NOW + timedelta(days=9)).expires_at == NOW + timedelta(days=9)
    assert updated(token, clear=["expires_at"]).expires_at is None
    with pytest.raises(RuleViolation, match="in the past"):
        updated(token, expires_at=NOW)


def test_a_token_is_disabled_and_enabled_again() -> None:
    token = client_tokens.register(command(), ACME, "tok_1", NOW)
    disabled = updated(token, disabled=True)
    assert disabled.disabled_at == NOW
    later = UpdateClientToken(tenant="acme", token_id="tok_1", disabled=True)
    assert client_tokens.update(disabled, later, NOW + timedelta(days=1)) == disabled, "it keeps the first time"
    assert updated(disabled, disabled=False) == token


def test_an_overlap_ends_after_its_time_and_has_two_secrets_at_most() -> None:
    token = client_tokens.register(command(), ACME, "tok_1", NOW)
    assert client_tokens.overlap_end(token, 60, NOW) == NOW + timedelta(minutes=1)
    previous = PreviousSecret(last4="abcd", valid_until=NOW + timedelta(hours=1))
    rotated = token.model_copy(update={"previous": previous})
    with pytest.raises(RuleViolation, match="end that overlap first") as caught:
        client_tokens.overlap_end(rotated, 60, NOW)
    assert caught.value.code is ErrorCode.CONFLICT
    assert client_tokens.overlap_end(rotated, 0, NOW) == NOW
    with pytest.raises(RuleViolation, match="revoked, for good"):
        client_tokens.overlap_end(client_tokens.revoke(token, NOW), 0, NOW)


def test_the_audit_says_what_was_changed() -> None:
    change = UpdateClientToken(
        tenant="acme",
        token_id="tok_1",
        label="new",
        allowed_apis=[ClientApi.CHAT, ClientApi.MODELS],
        disabled=True,
        limits=LimitChanges(rpm=5),
    )
    before = client_tokens.register(command(), ACME, "tok_1", NOW)
    after = client_tokens.update(before, change, NOW)
    found = client_tokens.describe_update(before, after)
    assert found.pop("label") == f"{before.label} → new"
    assert found.pop("allowed_apis") == "not set → chat, models"
    assert found.pop("limits.rpm") == "not set → 5"
    assert any(name.startswith("disabled") for name in found)
