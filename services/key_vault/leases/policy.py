"""Whether a lease request is granted, and when the lease ends. Pure."""

from keyferry.contracts.key import USABLE, KeyStatus, ProviderKey
from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tenant
from keyferry.sealing.delivery import NONCE_BYTES
from keyferry.sealing.framing import from_base64
from keyferry.sealing.registration import MAX_SKEW_MS
from keyferry.tiers.byok import ByokSwitch
from services.key_vault.database.errors import RequestRejected

_WHY_NOT = {
    KeyStatus.INVALID: "the provider does not accept it",
    KeyStatus.EXPIRED: "it has expired",
    KeyStatus.DISABLED: "it is switched off",
    KeyStatus.UNDECRYPTABLE: "the vault cannot decrypt its record",
}


def check_request(request: LeaseKey, now_unix_ms: int) -> None:
    """Check a request's time, nonce and owner. Raises RequestRejected."""
    age_ms = now_unix_ms - request.sent_at_unix_ms
    if abs(age_ms) > MAX_SKEW_MS:
        raise RequestRejected(
            ErrorCode.INVALID,
            f"the lease request was sent {age_ms} ms before it arrived, and {MAX_SKEW_MS} ms are allowed either way: check"
            " that the clocks of worker and vault agree (NTP)",
        )
    if not _is_nonce(request.nonce):
        raise RequestRejected(ErrorCode.INVALID, f"the nonce of a lease request has to be {NONCE_BYTES} bytes")
    if request.owner not in (request.tenant, PLATFORM_TENANT):
        raise RequestRejected(
            ErrorCode.INVALID, f"a request of {request.tenant} may use its own keys or the platform's, and no others"
        )


def check_tenant(tenant: Tenant | None, request: LeaseKey, byok: ByokSwitch) -> None:
    """Check that keys may be used for the tenant of a request, as far as it is known. Raises RequestRejected."""
    if tenant is None:
        return
    if tenant.suspended:
        # INVALID, since the fault is in this request: a worker shares what is wrong with a key with requests of other tenants.
        raise RequestRejected(ErrorCode.INVALID, f"{tenant.tenant} is suspended: no key is released for its requests")
    if request.owner == tenant.tenant and (off := byok.why_off(tenant)) is not None:
        raise RequestRejected(ErrorCode.NOT_FOUND, f"the key {request.key_id} cannot be used: {off}")


def check_key(key: ProviderKey, request: LeaseKey, now_unix_ms: int) -> None:
    """Check that the key is the requested one and may be used now. Raises RequestRejected."""
    if key.provider != request.provider:
        raise RequestRejected(
            ErrorCode.INVALID, f"the key {key.key_id} is for {key.provider} and not for {request.provider}"
        )
    if key.origin != request.origin:
        raise RequestRejected(
            ErrorCode.INVALID,
            f"the key {key.key_id} belongs to {key.origin} and is not released for {request.origin}: add it for that address",
        )
    if (why := _why_not(key, now_unix_ms)) is not None:
        raise RequestRejected(ErrorCode.NOT_FOUND, f"the key {key.key_id} cannot be used: {why}")


def lease_end_unix_ms(request: LeaseKey, key: ProviderKey, lease_ms: int) -> int:
    """Return when the worker has to drop the key: counted from the request's time, and never past the key's expiry."""
    end = request.sent_at_unix_ms + lease_ms
    return end if key.expires_at is None else min(end, int(key.expires_at.timestamp() * 1000))


def _why_not(key: ProviderKey, now_unix_ms: int) -> str | None:
    if key.status not in USABLE:
        return _WHY_NOT[key.status]
    if key.expires_at is not None and key.expires_at.timestamp() * 1000 <= now_unix_ms:
        return _WHY_NOT[KeyStatus.EXPIRED]
    return "its monthly limit is spent" if key.over_limit else None


def _is_nonce(text: str) -> bool:
    try:
        return len(from_base64(text)) == NONCE_BYTES
    except ValueError:
        return False
