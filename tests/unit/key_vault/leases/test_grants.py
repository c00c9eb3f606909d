"""Which lease requests prove a request under way and somebody who pays, each rule at its limits."""

import json
import secrets

import pytest

from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.service import ErrorCode
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant_check import GrantedRequest
from keyferry.sealing.registration import MAX_SKEW_MS
from services.key_vault.leases.grant_keys import BadGrantKeys, GrantKeys
from services.key_vault.leases.grants import MOST_KEYS, GrantCheck, GrantUses, NotGranted
from tests.support.vault.grants import INGRESS, OPERATOR, PROGRAM, Granting
from tests.unit.key_vault.keys.stored_keys import NOW as NOW_TIME

NOW = int(NOW_TIME.timestamp() * 1000)
WORKER = "provider-worker-1"
GRANTING = Granting()
_SOME_KEY = to_base64(bytes(32))


def request(**changes: object) -> LeaseKey:
    usual = LeaseKey(
        instance_id="inst_1",
        tenant="acme",
        owner="acme",
        provider="openai",
        key_id="key_1",
        origin="https://api.openai.com",
        attempt_id="att_1",
        nonce=to_base64(secrets.token_bytes(16)),
        sent_at_unix_ms=NOW,
    )
    return usual.model_copy(update=changes)


def signed(**changes: object) -> LeaseKey:
    return GRANTING.signed(request(**changes)).model_copy(update=changes)


def not_granted(asked: LeaseKey, check: GrantCheck | None = None) -> str:
    with pytest.raises(NotGranted) as caught:
        (check or GRANTING.check()).check(WORKER, asked, NOW)
    assert caught.value.code is ErrorCode.INVALID
    return caught.value.message


def test_a_signed_request_gets_its_tenants_key() -> None:
    GRANTING.check().check(WORKER, signed(), NOW)


def test_a_request_that_nobody_signed_gets_none() -> None:
    asked = signed()
    for change in ({"grant": None}, {"request_id": None}):
        assert "only for requests that are under way" in not_granted(asked.model_copy(update=change))


def test_a_grant_is_for_its_own_request_and_tenant() -> None:
    asked = signed()
    assert "has not signed" in not_granted(asked.model_copy(update={"request_id": "req_other"}))
    assert "has not signed" in not_granted(asked.model_copy(update={"tenant": "globex", "owner": "globex"}))


# --- the platform's keys


def test_a_platform_key_needs_a_certificate_of_the_tenants_own_account() -> None:
    asked = signed(owner="platform")
    GRANTING.check().check(WORKER, asked, NOW)
    assert "has no lease of credit" in not_granted(asked.model_copy(update={"certificate": None}))
    foreign = GRANTING.certificate("globex", now_unix_ms=NOW)
    assert "has not certified this lease of credit for acme" in not_granted(
        asked.model_copy(update={"certificate": foreign})
    )
    for account in ("credits/globex", "allowance/globex/2026-11"):
        other = GRANTING.certificate("acme", account=account, now_unix_ms=NOW)
        assert "does not pay for requests of acme" in not_granted(asked.model_copy(update={"certificate": other}))
    ended = GRANTING.certificate("acme", now_unix_ms=NOW - 60_000 - MAX_SKEW_MS - 1)
    assert "ended" in not_granted(asked.model_copy(update={"certificate": ended}))
    free = GRANTING.certificate("acme", account="allowance/acme/2026-11", now_unix_ms=NOW)
    GRANTING.check().check(WORKER, asked.model_copy(update={"certificate": free}), NOW)


def test_without_credits_a_platform_key_needs_no_certificate_but_a_grant() -> None:
    check = GrantCheck(GRANTING.key_of, ledger=None)
    asked = signed(owner="platform", certificate=None)
    check.check(WORKER, asked, NOW)
    assert not_granted(asked.model_copy(update={"grant": None}), check)


def test_the_platforms_own_requests_pay_nobody() -> None:
    GRANTING.check().check(WORKER, signed(tenant="platform", owner="platform", certificate=None), NOW)


# --- how often


def test_a_grant_is_good_for_so_many_keys_and_again_for_each_of_them() -> None:
    check, asked = GRANTING.check(), signed()
    for _ in range(2):
        for number in range(MOST_KEYS):
            check.check(WORKER, asked.model_copy(update={"key_id": f"key_{number}"}), NOW)
    message = not_granted(asked.model_copy(update={"key_id": "key_more"}), check)
    assert message == f"the request {asked.request_id} was used for {MOST_KEYS} keys already, and no request needs more"
    check.check(WORKER, signed(key_id="key_more"), NOW)


def test_each_worker_counts() -> None:
    check, asked = GRANTING.check(), signed()
    for number in range(MOST_KEYS):
        check.check(f"provider-worker-{number}", asked, NOW)
    assert "keys already" in not_granted(asked.model_copy(update={"key_id": "key_2"}), check)


def test_a_refused_grant_counts_nothing() -> None:
    check, asked = GRANTING.check(), signed()
    for number in range(2 * MOST_KEYS):
        forged = asked.model_copy(update={"key_id": f"key_{number}", "grant": f"{asked.grant}A"})
        assert "keys already" not in not_granted(forged, check)
    check.check(WORKER, asked, NOW)


def test_what_is_counted_is_bounded_and_forgotten_when_the_request_has_ended() -> None:
    uses = GrantUses(most_keys=1, most_requests=3)
    for number in range(10):
        assert uses.may_use(GrantedRequest("acme", f"req_{number}"), (WORKER, "acme", "key_1"), NOW + number, NOW)
    assert len(uses) == 3
    assert not uses.may_use(GrantedRequest("acme", "req_9"), (WORKER, "acme", "key_2"), NOW + 9, NOW)
    later = NOW + 10 + MAX_SKEW_MS
    assert uses.may_use(GrantedRequest("acme", "req_10"), (WORKER, "acme", "key_1"), later + 5, later)
    assert len(uses) == 1


# --- the signers


def test_the_file_names_the_secrets_of_ingress_and_the_operator() -> None:
    keys = GrantKeys.parse(GRANTING.file_text)
    assert len(keys) == 2
    asked = signed()
    assert asked.request_id is not None
    for user in (INGRESS, OPERATOR):
        grant = GRANTING.grant("acme", asked.request_id, user=user, now_unix_ms=NOW)
        GrantCheck(keys.get, None).check(WORKER, asked.model_copy(update={"grant": grant}), NOW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ("[]", "has to hold a JSON object"),
        ('{"ingress": "a", "ingress": "b"}', "a signer is named twice"),
        (json.dumps({"nobody": _SOME_KEY}), "none of ingress, operator"),
        (json.dumps({"": _SOME_KEY}), "none of ingress, operator"),
        (json.dumps({"router": _SOME_KEY}), "none of ingress, operator"),
        (json.dumps({"internal-client.acme.main": _SOME_KEY}), "is registered"),
        ('{"ingress": "AAAA"}', "the key of ingress"),
        ('{"ingress": null}', "the key of ingress"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text: str, why: str) -> None:
    with pytest.raises(BadGrantKeys, match=why) as caught:
        GrantKeys.parse(text)
    assert "AAAA" not in str(caught.value)


def test_an_internal_service_signs_with_its_registered_key_until_it_is_revoked() -> None:
    service = GRANTING.service
    view = {"acme.main": service}
    check = GrantCheck(lambda signer: GRANTING.keys.get(signer, view.get), None)
    asked = signed()
    assert asked.request_id is not None
    grant = GRANTING.grant("acme", asked.request_id, user=PROGRAM, now_unix_ms=NOW)
    by_service = asked.model_copy(update={"grant": grant})
    check.check(WORKER, by_service, NOW)
    for changed in ({"revoked_at": NOW_TIME}, {"tenant": "globex"}, {"name": "other"}):
        view["acme.main"] = service.model_copy(update=changed)
        assert "nobody signs grants" in not_granted(by_service, check), changed
    view.clear()
    assert "nobody signs grants" in not_granted(by_service, check)
    for name in ("internal-client", "internal-client.acme", "internal-client.acme.main.x", INGRESS):
        assert GrantKeys({}).get(name, {"acme.main": service}.get) is None
