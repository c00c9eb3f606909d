"""Who may come in, and what the others are told."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret
from keyferry.contracts.tenancy import ClientToken, Tenant, Tier
from services.ingress.identity import Identity, Suspended, Unauthenticated, identify

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PEPPER = Secret("pepper")
MINTED = client_token.mint().reveal()
TENANT = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER)
TOKEN = ClientToken(token_id="tok_1", tenant="acme", label="app", last4=MINTED[-4:], created_at=NOW)


def known(
    token: ClientToken = TOKEN, tenant: Tenant | None = TENANT, authorization: str | None = f"Bearer {MINTED}"
) -> Identity:
    tokens = {client_token.fingerprint(client_token.digest(MINTED), PEPPER): token}
    tenants = {tenant.tenant: tenant} if tenant else {}
    return identify(authorization, tokens=tokens.get, tenants=tenants.get, pepper=PEPPER, now=NOW)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_token_names_its_tenant(scheme: str) -> None:
    assert known(authorization=f"{scheme} {MINTED}") == Identity(TENANT, TOKEN)


@pytest.mark.parametrize(
    ("authorization", "says"),
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
def test_others_are_told_what_is_wrong_and_never_what_they_sent(authorization: str | None, says: str) -> None:
    with pytest.raises(Unauthenticated, match=says) as refused:
        known(authorization=authorization)
    sent = (authorization or "").removeprefix("Bearer ").strip()
    assert not sent or sent in ("Bearer", "Basic abc") or sent not in str(refused.value)


def test_revoked_and_expired_tokens_say_so() -> None:
    with pytest.raises(Unauthenticated, match="revoked"):
        known(TOKEN.model_copy(update={"revoked_at": NOW - timedelta(seconds=1)}))
    with pytest.raises(Unauthenticated, match="expired at 2026-10-31"):
        known(TOKEN.model_copy(update={"expires_at": NOW - timedelta(days=1)}))
    known(TOKEN.model_copy(update={"expires_at": NOW + timedelta(seconds=1)}))


def test_a_suspended_tenant_is_known_and_refused() -> None:
    with pytest.raises(Suspended, match="acme"):
        known(tenant=TENANT.model_copy(update={"suspended": True}))


def test_a_token_whose_tenant_is_gone_is_refused() -> None:
    with pytest.raises(Unauthenticated, match="tenant"):
        known(tenant=None)
