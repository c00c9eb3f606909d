"""Authentication by client token, and the errors of unknown callers."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken, Tenant, Tier
from services.ingress.identity import ClientIdentity, Suspended, Unauthenticated, UnreadableTenant, identify

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PEPPER = Secret("pepper")
MINTED = client_token.mint().reveal()
TENANT = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
TOKEN = ClientToken(token_id="tok_1", tenant="acme", label="app", last4=MINTED[-4:], created_at=NOW)


def authenticate(
    token: ClientToken = TOKEN, tenant: Tenant | None = TENANT, authorization: str | None = f"Bearer {MINTED}"
) -> ClientIdentity:
    tokens = {client_token.fingerprint(client_token.digest(MINTED), PEPPER): token}
    tenants = {tenant.tenant: tenant} if tenant else {}
    return identify(authorization, tokens=tokens.get, tenants=tenants.get, pepper=PEPPER, now=NOW)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_valid_token_identifies_its_tenant(scheme: str) -> None:
    assert authenticate(authorization=f"{scheme} {MINTED}") == ClientIdentity(TENANT, TOKEN)


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, "no client token"),
        ("", "no client token"),
        ("Basic abc", "must read"),
        ("Bearer", "must read"),
        (f"Bearer {MINTED[:-1]}", "form or checksum"),
        (f"Bearer {MINTED[:-1]}{'a' if MINTED[-1] != 'a' else 'b'}", "form or checksum"),
        ("Bearer sk-proj-abcdefghijklmnop", "form or checksum"),
        (f"Bearer {client_token.mint().reveal()}", "not known"),
    ],
    ids=["absent", "empty", "basic", "no token", "too short", "wrong checksum", "provider key", "unknown"],
)
def test_unknown_callers_get_a_reason_that_never_repeats_what_they_sent(
    authorization: str | None, expected: str
) -> None:
    with pytest.raises(Unauthenticated, match=expected) as raised:
        authenticate(authorization=authorization)
    sent = (authorization or "").removeprefix("Bearer ").strip()
    assert not sent or sent in ("Bearer", "Basic abc") or sent not in str(raised.value)


def test_a_tenant_that_cannot_be_read_is_not_an_unknown_one() -> None:
    def damaged(*tenants: str) -> ClientIdentity:
        digest = client_token.fingerprint(client_token.digest(MINTED), PEPPER)
        found = {digest: TOKEN}.get
        return identify(
            f"Bearer {MINTED}",
            tokens=found,
            tenants=lambda _: None,
            pepper=PEPPER,
            now=NOW,
            unreadable=frozenset(tenants),
        )

    with pytest.raises(UnreadableTenant, match="cannot read its data about the tenant acme"):
        damaged("acme")
    with pytest.raises(Unauthenticated, match="not known"):
        damaged("other")


def test_revoked_and_expired_tokens_are_rejected() -> None:
    with pytest.raises(Unauthenticated, match="revoked"):
        authenticate(TOKEN.model_copy(update={"revoked_at": NOW - timedelta(seconds=1)}))
    with pytest.raises(Unauthenticated, match="expired at 2026-10-31"):
        authenticate(TOKEN.model_copy(update={"expires_at": NOW - timedelta(days=1)}))
    with pytest.raises(Unauthenticated, match="expired at 2026-11-01"):
        authenticate(TOKEN.model_copy(update={"expires_at": NOW}))
    authenticate(TOKEN.model_copy(update={"expires_at": NOW + timedelta(seconds=1)}))


def test_suspended_tenant_is_rejected() -> None:
    with pytest.raises(Suspended, match="acme"):
        authenticate(tenant=TENANT.model_copy(update={"suspended": True}))


def test_token_of_an_unknown_tenant_is_rejected() -> None:
    with pytest.raises(Unauthenticated, match="tenant"):
        authenticate(tenant=None)


def test_a_disabled_token_and_a_replaced_secret_are_rejected() -> None:
    with pytest.raises(Unauthenticated, match="is disabled; ask your administrator to enable it"):
        authenticate(TOKEN.model_copy(update={"disabled_at": NOW}))
    with pytest.raises(Unauthenticated, match="was rotated, and this secret of it ended at 2026-11-01"):
        authenticate(TOKEN.model_copy(update={"secret_valid_until": NOW}))
    authenticate(TOKEN.model_copy(update={"secret_valid_until": NOW + timedelta(seconds=1)}))
