"""Whether a lease request is one to answer, and until when the key may be kept. Pure: the facts and `now` are arguments."""

from keyferry.contracts.key import USABLE, KeyStatus, LeaseKey, ProviderKey
from keyferry.contracts.service import ErrorCode
from keyferry.sealing.delivery import NONCE_BYTES
from keyferry.sealing.framing import from_base64
from keyferry.sealing.registration import MAX_SKEW_MS
from services.key_vault.database.errors import RequestRejected

PLATFORM = "platform"
"""The reserved tenant that owns the platform's own keys."""

_WHY_NOT = {
    KeyStatus.INVALID: "the provider does not accept it",
    KeyStatus.EXPIRED: "it has expired",
    KeyStatus.DISABLED: "it is switched off",
    KeyStatus.UNDECRYPTABLE: "the vault cannot open its record",
}


def check_request(asked: LeaseKey, now_unix_ms: int) -> None:
    """Nothing when a request makes sense by itself: its time, its nonce, whose key it asks for. Raises Rejected."""
    apart_ms = now_unix_ms - asked.sent_at_unix_ms
    if abs(apart_ms) > MAX_SKEW_MS:
        raise RequestRejected(
            ErrorCode.INVALID,
            f"the lease request was sent {apart_ms} ms before it came, and {MAX_SKEW_MS} ms are allowed either way: see that"
            " the clocks of worker and vault agree (NTP)",
        )
    if not _is_nonce(asked.nonce):
        raise RequestRejected(ErrorCode.INVALID, f"the nonce of a lease request is {NONCE_BYTES} bytes")
    if asked.owner not in (asked.tenant, PLATFORM):
        raise RequestRejected(
            ErrorCode.INVALID, f"a request of {asked.tenant} uses its own keys or the platform's, and no others"
        )


def check_key(key: ProviderKey, asked: LeaseKey, now_unix_ms: int) -> None:
    """Nothing when the key is what was asked for and may be used now. Raises Rejected."""
    if key.provider != asked.provider:
        raise RequestRejected(
            ErrorCode.INVALID, f"the key {key.key_id} is for {key.provider} and not for {asked.provider}"
        )
    if key.origin != asked.origin:
        raise RequestRejected(
            ErrorCode.INVALID,
            f"the key {key.key_id} belongs to {key.origin} and is not given out for {asked.origin}: add it for that address",
        )
    if (why := _why_not(key, now_unix_ms)) is not None:
        raise RequestRejected(ErrorCode.NOT_FOUND, f"the key {key.key_id} cannot be used: {why}")


def lease_end_unix_ms(asked: LeaseKey, key: ProviderKey, lease_ms: int) -> int:
    """When the worker has to forget the key: counted from before it asked, by its own clock, and never past its expiry."""
    end = asked.sent_at_unix_ms + lease_ms
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
