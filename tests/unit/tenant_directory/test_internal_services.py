"""The rules of internal services."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

from keyferry.contracts.internal_services import MAX_PER_TENANT, RevokeInternalService, raw_nkey
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from services.tenant_directory import internal_services
from services.tenant_directory.tenants import RuleViolation
from tests.support.internal_services import create_command

NOW = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ACME = Tenant(tenant="acme", name="Acme", tier=Tier.FREE)
REVOKE = RevokeInternalService(tenant="acme", name="crm", actor="console:operator")


def test_a_service_is_registered_with_its_public_keys() -> None:
    command = create_command(operations=["chat"])
    service = internal_services.register(command, ACME, 0, NOW.astimezone(timezone(timedelta(hours=5))))
    assert (service.nkey_public, service.grant_public_key) == (command.nkey_public, command.grant_public_key)
    assert (service.tenant, service.name, service.operations) == ("acme", "crm", ["chat"])
    assert (service.created_at, service.created_by, service.revoked_at) == (NOW, "operator", None)
    assert service.created_at.tzinfo is UTC, "equal services encode alike"


@pytest.mark.parametrize(
    ("owner", "live", "code", "message"),
    [
        (ACME.model_copy(update={"tenant": "platform"}), 0, ErrorCode.INVALID, "makes no calls"),
        (ACME.model_copy(update={"suspended": True}), 0, ErrorCode.CONFLICT, "End the suspension first"),
        (ACME, MAX_PER_TENANT, ErrorCode.CONFLICT, "revoke one that is not used"),
    ],
)
def test_who_may_have_no_service(owner: Tenant, live: int, code: ErrorCode, message: str) -> None:
    with pytest.raises(RuleViolation, match=message) as caught:
        internal_services.register(create_command(), owner, live, NOW)
    assert caught.value.code is code


def test_the_last_service_of_a_tenant() -> None:
    assert internal_services.register(create_command(), ACME, MAX_PER_TENANT - 1, NOW).name == "crm"


def test_one_key_does_not_serve_both_purposes() -> None:
    command = create_command()
    same = base64.urlsafe_b64encode(raw_nkey(command.nkey_public)).rstrip(b"=").decode()
    with pytest.raises(RuleViolation, match="generate two"):
        internal_services.register(command.model_copy(update={"grant_public_key": same}), ACME, 0, NOW)


def test_a_service_keeps_its_first_revocation() -> None:
    service = internal_services.register(create_command(), ACME, 0, NOW)
    revoked = internal_services.revoke(service, REVOKE, NOW + timedelta(days=1))
    assert (revoked.revoked_at, revoked.revoked_by) == (NOW + timedelta(days=1), "console:operator")
    later = REVOKE.model_copy(update={"actor": "operator"})
    assert internal_services.revoke(revoked, later, NOW + timedelta(days=2)) == revoked
