"""Which lease request is granted, and when the lease ends, each rule at its limits."""

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.key import USABLE, KeyStatus, ProviderKey
from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, ByokUse, Tenant, Tier
from keyferry.sealing.delivery import NONCE_BYTES
from keyferry.sealing.framing import to_base64
from keyferry.sealing.registration import MAX_SKEW_MS
from keyferry.tiers.byok import ByokSwitch
from services.key_vault.database.errors import RequestRejected
from services.key_vault.leases.policy import check_key, check_request, check_tenant, lease_end_unix_ms
from tests.unit.key_vault.keys.stored_keys import NOW, key

NOW_UNIX_MS = int(NOW.timestamp() * 1000)
KEY = key()


def request(**changes: object) -> LeaseKey:
    usual = LeaseKey(
        instance_id="inst_1",
        tenant="acme",
        owner="acme",
        provider=KEY.provider,
        key_id=KEY.key_id,
        origin=KEY.origin,
        attempt_id="att_1",
        nonce=to_base64(secrets.token_bytes(NONCE_BYTES)),
        sent_at_unix_ms=NOW_UNIX_MS,
    )
    return usual.model_copy(update=changes)


def rejected_request(**changes: object) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        check_request(request(**changes), NOW_UNIX_MS)
    return caught.value


def rejected_key(stored: ProviderKey, **changes: object) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        check_key(stored, request(**changes), NOW_UNIX_MS)
    return caught.value


@pytest.mark.parametrize("age_ms", [-MAX_SKEW_MS, -1, 0, 1, MAX_SKEW_MS])
def test_a_request_may_be_as_old_or_as_early_as_clocks_may_differ(age_ms: int) -> None:
    check_request(request(sent_at_unix_ms=NOW_UNIX_MS - age_ms), NOW_UNIX_MS)


@pytest.mark.parametrize("age_ms", [-MAX_SKEW_MS - 1, MAX_SKEW_MS + 1])
def test_an_older_or_earlier_request_is_rejected_with_its_age(age_ms: int) -> None:
    error = rejected_request(sent_at_unix_ms=NOW_UNIX_MS - age_ms)
    assert error.code is ErrorCode.INVALID
    assert f"was sent {age_ms} ms before it arrived, and {MAX_SKEW_MS} ms are allowed" in error.message


@pytest.mark.parametrize(
    "nonce", ["", "AAAA", "not base64!", to_base64(bytes(NONCE_BYTES - 1)), to_base64(bytes(NONCE_BYTES + 1))]
)
def test_a_nonce_has_its_length(nonce: str) -> None:
    error = rejected_request(nonce=nonce)
    assert (error.code, error.message) == (
        ErrorCode.INVALID,
        f"the nonce of a lease request has to be {NONCE_BYTES} bytes",
    )


@pytest.mark.parametrize("owner", ["acme", "platform"])
def test_a_request_may_use_its_tenants_keys_and_the_platforms(owner: str) -> None:
    check_request(request(owner=owner), NOW_UNIX_MS)


def test_a_request_may_not_use_another_tenants_keys() -> None:
    error = rejected_request(owner="globex")
    assert error.code is ErrorCode.INVALID
    assert error.message == "a request of acme may use its own keys or the platform's, and no others"


def test_the_requested_key_may_be_used() -> None:
    check_key(KEY, request(), NOW_UNIX_MS)


def test_a_key_is_for_one_provider() -> None:
    error = rejected_key(KEY, provider="groq")
    assert (error.code, error.message) == (ErrorCode.INVALID, f"the key {KEY.key_id} is for openai and not for groq")


def test_a_key_is_for_one_origin() -> None:
    error = rejected_key(KEY, origin="https://evil.example")
    assert error.code is ErrorCode.INVALID
    assert error.message.startswith(
        f"the key {KEY.key_id} belongs to https://api.openai.com and is not released for https://evil.example"
    )


@pytest.mark.parametrize("status", KeyStatus)
def test_only_a_usable_key_is_released(status: KeyStatus) -> None:
    stored = key(status=status)
    if status in USABLE:
        check_key(stored, request(), NOW_UNIX_MS)
        return
    reasons = {
        KeyStatus.INVALID: "the provider does not accept it",
        KeyStatus.EXPIRED: "it has expired",
        KeyStatus.DISABLED: "it is switched off",
        KeyStatus.UNDECRYPTABLE: "the vault cannot decrypt its record",
    }
    error = rejected_key(stored)
    assert (error.code, error.message) == (
        ErrorCode.NOT_FOUND,
        f"the key {KEY.key_id} cannot be used: {reasons[status]}",
    )


def test_a_key_is_released_until_it_expires() -> None:
    check_key(key(expires_at=NOW + timedelta(milliseconds=1)), request(), NOW_UNIX_MS)
    for expires_at in (NOW, NOW - timedelta(milliseconds=1)):
        assert "it has expired" in rejected_key(key(expires_at=expires_at)).message


def test_a_key_over_its_limit_is_not_released() -> None:
    assert "its monthly limit is spent" in rejected_key(key(over_limit=True)).message


@pytest.mark.parametrize(
    ("expires_after_ms", "end_after_ms"), [(None, 60_000), (60_001, 60_000), (60_000, 60_000), (59_999, 59_999), (1, 1)]
)
def test_a_lease_ends_with_its_time_and_no_later_than_its_key(expires_after_ms: int | None, end_after_ms: int) -> None:
    expires_at = None if expires_after_ms is None else NOW + timedelta(milliseconds=expires_after_ms)
    sent = request(sent_at_unix_ms=NOW_UNIX_MS)
    assert lease_end_unix_ms(sent, key(expires_at=expires_at), 60_000) == NOW_UNIX_MS + end_after_ms


def test_a_lease_is_counted_from_when_it_was_requested() -> None:
    sent = request(sent_at_unix_ms=NOW_UNIX_MS - 5000)
    assert lease_end_unix_ms(sent, KEY, 60_000) == NOW_UNIX_MS + 55_000
    far = key(expires_at=datetime(2100, 1, 1, tzinfo=UTC))
    assert lease_end_unix_ms(sent, far, 60_000) == NOW_UNIX_MS + 55_000


def tenant(**changes: object) -> Tenant:
    return Tenant(tenant="acme", name="Acme", tier=Tier.STARTER).model_copy(update=changes)


def test_nothing_is_released_for_a_suspended_tenant() -> None:
    for owner in ("acme", PLATFORM_TENANT):
        with pytest.raises(RequestRejected, match="acme is suspended") as refused:
            check_tenant(tenant(suspended=True), request(owner=owner), ByokSwitch())
        assert refused.value.code is ErrorCode.INVALID, (
            "workers share every other refusal with requests of other tenants"
        )


def test_own_keys_that_are_switched_off_are_not_released_but_the_platforms_are() -> None:
    off = tenant(byok=ByokUse.OFF)
    with pytest.raises(RequestRejected, match="switched off for acme"):
        check_tenant(off, request(), ByokSwitch())
    check_tenant(off, request(owner=PLATFORM_TENANT), ByokSwitch())
    check_tenant(tenant(), request(), ByokSwitch())
    check_tenant(None, request(), ByokSwitch(enabled=False))
