"""Which addresses of a channel receive notifications, and the codes that confirm the others. Pure."""

import hashlib
import hmac
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from keyferry.contracts.notification_channels import ChannelRecipient, RecipientState
from keyferry.contracts.tenancy import PLATFORM_TENANT

CODE_EVERY = timedelta(hours=1)
"""How often a code may be sent to one address of a tenant."""
MAX_WRONG_CODES = 5
"""Then the code is void, and another one has to be sent."""
MAX_UNCONFIRMED = 20
"""Addresses of one tenant that wait for a confirmation: what may be mailed to strangers is little."""
_RECEIVE = frozenset({RecipientState.MEMBER, RecipientState.CONFIRMED, RecipientState.PLATFORM})


def describe_recipients(
    tenant: str, recipients: Sequence[str], members: Collection[str], confirmed: Collection[str]
) -> list[ChannelRecipient]:
    """Return the addresses of a channel, each with why it receives notifications or that it does not."""

    def state_of(address: str) -> RecipientState:
        if tenant == PLATFORM_TENANT:
            return RecipientState.PLATFORM
        if address in members:
            return RecipientState.MEMBER
        return RecipientState.CONFIRMED if address in confirmed else RecipientState.UNCONFIRMED

    return [ChannelRecipient(address=address, state=state_of(address)) for address in recipients]


def receiving(recipients: Sequence[ChannelRecipient]) -> list[str]:
    """Return the addresses that receive notifications."""
    return [recipient.address for recipient in recipients if recipient.state in _RECEIVE]


def digest_of_code(tenant: str, address: str, code: str) -> bytes:
    """Return what is stored of a code: it is short-lived, and guesses are counted."""
    return hashlib.sha256(f"{tenant}\n{address}\n{code}".encode()).digest()


def is_right(
    tenant: str, address: str, code: str, digest: bytes | None, expires_at: datetime | None, now: datetime
) -> bool:
    """Return whether a code confirms an address now."""
    if digest is None or expires_at is None or now >= expires_at:
        return False
    return hmac.compare_digest(digest, digest_of_code(tenant, address, code))
