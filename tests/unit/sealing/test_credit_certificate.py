"""The ledger's certificates: of accounts that pay, for one tenant, until the lease ends."""

from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyferry.contracts.credit import CreditCertificate, CreditLease, LeaseResult
from keyferry.sealing.credit_certificate import certify, pays_for
from keyferry.sealing.grant_check import InvalidCertificate, verify_certificate
from keyferry.sealing.registration import MAX_SKEW_MS

NOW = 1_900_000_000_000
KEY = Ed25519PrivateKey.generate()


@dataclass(frozen=True)
class Case:
    account: str
    certified: bool
    pays: bool


CASES = [
    Case("credits/acme", certified=True, pays=True),
    Case("allowance/acme/2026-11", certified=True, pays=True),
    Case("credits/globex", certified=True, pays=False),
    Case("credits/acme/more", certified=True, pays=False),
    Case("allowance/acme", certified=True, pays=False),
    Case("allowance/globex/acme", certified=True, pays=False),
    Case("budget/acme/2026-11-01", certified=False, pays=False),
    Case("budget/bud_1/2026-11-01", certified=False, pays=False),
]


def lease(account: str = "credits/acme") -> CreditLease:
    return CreditLease(
        result=LeaseResult.GRANTED, account=account, lease_id="lea_1", amount=5, not_after_unix_ms=NOW + 60_000
    )


def certificate() -> CreditCertificate:
    made = certify(KEY, "acme", lease())
    assert made is not None
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.account)
def test_only_accounts_that_pay_are_certified_and_only_the_tenants_own_counts(case: Case) -> None:
    made = certify(KEY, "acme", lease(case.account))
    assert (made is not None) == case.certified
    shown = CreditCertificate(account=case.account, lease_id="lea_1", not_after_unix_ms=NOW, signature="")
    assert pays_for(shown, "acme") == case.pays


@pytest.mark.parametrize("result", [one for one in LeaseResult if one is not LeaseResult.GRANTED])
def test_what_was_not_leased_is_not_certified(result: LeaseResult) -> None:
    assert certify(KEY, "acme", CreditLease(result=result, account="credits/acme", lease_id="lea_1")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"account": "credits/acmf"},
        {"lease_id": "lea_2"},
        {"not_after_unix_ms": NOW + 60_001},
        {"signature": ""},
        {"signature": "AAAA"},
        {"signature": "not base64!"},
    ],
)
def test_every_field_counts(change: dict[str, object]) -> None:
    verify_certificate(certificate(), "acme", KEY.public_key(), NOW)
    with pytest.raises(InvalidCertificate, match="has not certified"):
        verify_certificate(certificate().model_copy(update=change), "acme", KEY.public_key(), NOW)


def test_it_is_for_one_tenant_and_of_one_ledger() -> None:
    with pytest.raises(InvalidCertificate, match="for globex"):
        verify_certificate(certificate(), "globex", KEY.public_key(), NOW)
    with pytest.raises(InvalidCertificate, match="has not certified"):
        verify_certificate(certificate(), "acme", Ed25519PrivateKey.generate().public_key(), NOW)


def test_it_ends_with_its_lease() -> None:
    end = NOW + 60_000
    verify_certificate(certificate(), "acme", KEY.public_key(), end + MAX_SKEW_MS)
    with pytest.raises(InvalidCertificate, match=f"ended {MAX_SKEW_MS + 1} ms ago"):
        verify_certificate(certificate(), "acme", KEY.public_key(), end + MAX_SKEW_MS + 1)
