"""Addresses that are no member's: their codes and confirmations."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.notification_channels import CODE_DAYS
from keyferry.runtime.database.service_database import ServiceDatabase
from services.notifier.channels.address_rules import (
    CODE_EVERY,
    MAX_UNCONFIRMED,
    MAX_WRONG_CODES,
    digest_of_code,
    is_right,
)
from services.notifier.rejection import NotifierRefusal

_CONFIRMED = text("""
SELECT address FROM notifier.addresses WHERE tenant = :tenant AND address = ANY(:addresses) AND confirmed_at IS NOT NULL
""")
_WAITING = text(
    "SELECT count(*) FROM notifier.addresses WHERE tenant = :tenant AND confirmed_at IS NULL AND address <> :address"
)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('notifier addresses ' || :tenant, 0))")
_GET = text("SELECT * FROM notifier.addresses WHERE tenant = :tenant AND address = :address FOR UPDATE")
_SENT = text("""
INSERT INTO notifier.addresses (tenant, address, code_digest, code_expires_at, code_sent_at, wrong_codes)
VALUES (:tenant, :address, :digest, :expires_at, :now, 0)
ON CONFLICT (tenant, address) DO UPDATE SET code_digest = :digest, code_expires_at = :expires_at, code_sent_at = :now,
    wrong_codes = 0
""")
_RIGHT = text("""
UPDATE notifier.addresses SET confirmed_at = :now, code_digest = NULL, code_expires_at = NULL, wrong_codes = 0
WHERE tenant = :tenant AND address = :address
""")
_WRONG = text("""
UPDATE notifier.addresses SET wrong_codes = wrong_codes + 1,
    code_digest = CASE WHEN wrong_codes + 1 >= :most THEN NULL ELSE code_digest END
WHERE tenant = :tenant AND address = :address
""")
_FORGET = text("""
DELETE FROM notifier.addresses WHERE tenant = :tenant AND confirmed_at IS NULL AND code_expires_at < :now
    AND code_sent_at < :before
""")
_DIGITS = 8


class AddressStore:
    """Addresses of all tenants. Every method raises DatabaseUnavailable."""

    def __init__(self, database: ServiceDatabase) -> None:
        self._database = database

    async def confirmed(self, tenant: str, addresses: Sequence[str]) -> frozenset[str]:
        """Return those of the addresses that are confirmed."""
        async with self._database.read() as connection:
            return await confirmed_addresses(connection, tenant, addresses)

    async def new_code(self, tenant: str, address: str, actor: str, now: datetime) -> tuple[str, datetime]:
        """Store a new code for an address; return it, and until when it is valid. Raises NotifierRefusal.

        It is stored before it is sent: a mail that is lost costs an hour, and no mail is sent twice.
        """
        code = "".join(secrets.choice("0123456789") for _ in range(_DIGITS))
        expires_at = now + timedelta(days=CODE_DAYS)
        key = {"tenant": tenant, "address": address}
        async with self._database.change() as change:
            await change.connection.execute(_LOCK, {"tenant": tenant})
            await change.connection.execute(_FORGET, {"tenant": tenant, "now": now, "before": now - CODE_EVERY})
            row = (await change.connection.execute(_GET, key)).one_or_none()
            if row is not None and row.confirmed_at is not None:
                raise NotifierRefusal(f"{address} is confirmed already")
            if row is not None and now - row.code_sent_at < CODE_EVERY:
                raise NotifierRefusal(
                    f"a code was sent to {address} less than an hour ago: enter that one, or try later"
                )
            if (await change.connection.scalar(_WAITING, key) or 0) >= MAX_UNCONFIRMED:
                raise NotifierRefusal(f"{tenant} has {MAX_UNCONFIRMED} addresses that wait for a code to be entered")
            digest = digest_of_code(tenant, address, code)
            await change.connection.execute(_SENT, key | {"digest": digest, "expires_at": expires_at, "now": now})
            await change.audit(
                actor=actor, action="channel_address.send_code", tenant=tenant, target=address, details={}
            )
        return code, expires_at

    async def confirm(self, tenant: str, address: str, code: str, actor: str, now: datetime) -> None:
        """Confirm an address. Raises NotifierRefusal for a wrong or void code, which is counted."""
        key = {"tenant": tenant, "address": address}
        async with self._database.change() as change:
            row = (await change.connection.execute(_GET, key)).one_or_none()
            if row is not None and row.confirmed_at is not None:
                return
            right = row is not None and is_right(tenant, address, code, row.code_digest, row.code_expires_at, now)
            if right:
                await change.connection.execute(_RIGHT, key | {"now": now})
                await change.audit(
                    actor=actor, action="channel_address.confirm", tenant=tenant, target=address, details={}
                )
            elif row is not None:
                await change.connection.execute(_WRONG, key | {"most": MAX_WRONG_CODES})
        if not right:
            raise NotifierRefusal(
                f"that is not the code that was sent to {address} last, or it is void: after seven days, or five wrong codes,"
                " send a new one"
            )


async def confirmed_addresses(connection: AsyncConnection, tenant: str, addresses: Sequence[str]) -> frozenset[str]:
    """Return those of a tenant's addresses that are confirmed."""
    found = await connection.scalars(_CONFIRMED, {"tenant": tenant, "addresses": list(addresses)})
    return frozenset(found)
