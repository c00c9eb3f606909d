"""Edits of a stored key that do not replace its secret. Pure."""

from datetime import UTC, datetime

from keyferry.contracts.audit_changes import describe_changes
from keyferry.contracts.key import EditKey, ProviderKey
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys.lifecycle import Event, is_expired, reschedule, status_after

_EDITABLE = (
    "label",
    "name",
    "team",
    "member",
    "priority",
    "weight",
    "allowed_models",
    "expires_at",
    "monthly_limit_usd",
)


def apply_edit(key: ProviderKey, command: EditKey, now: datetime, jitter: float) -> ProviderKey:
    """Return the edited key. Raises RequestRejected for a past expiry date, or a field both set and cleared."""
    changes = {name: value for name in _EDITABLE if (value := getattr(command, name)) is not None}
    if both := sorted(changes.keys() & set(command.clear)):
        raise RequestRejected(ErrorCode.INVALID, f"{', '.join(both)} cannot be set and cleared at the same time")
    if command.expires_at is not None:
        changes["expires_at"] = to_future_utc(command.expires_at, now)
    changes |= dict.fromkeys(command.clear)
    check_key_scope(key.tenant, command.team, command.member)
    if command.team is not None or command.member is not None:
        changes |= {"team": command.team, "member": command.member}
    changed = apply_limit(key.model_copy(update=changes))
    return reschedule(_apply_switch(_apply_expiry(changed, now), command.disabled, now), now, jitter)


def check_key_scope(tenant: str, team: str | None, member: str | None) -> None:
    """Raise RequestRejected for two scopes of one key, and for a scope of a key of the platform, which has no teams."""
    if team is not None and member is not None:
        raise RequestRejected(ErrorCode.INVALID, "a key is for one team or for one member: give one of them")
    if tenant == PLATFORM_TENANT and (team is not None or member is not None):
        raise RequestRejected(
            ErrorCode.INVALID,
            "the platform's keys pay for all tenants: only a tenant's own key is for a team or a member",
        )


def to_future_utc(moment: datetime | None, now: datetime) -> datetime | None:
    """Return the moment in UTC, taking one without a zone as UTC. Raises RequestRejected when it has passed."""
    if moment is None:
        return None
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if zoned <= now:
        raise RequestRejected(
            ErrorCode.INVALID, f"the expiry date has passed: {zoned.isoformat()}; give one in the future"
        )
    return zoned


def apply_limit(key: ProviderKey) -> ProviderKey:
    """Return the key with `over_limit` set exactly when this month's spending has reached the limit."""
    spent, limit = key.spent_usd, key.monthly_limit_usd
    return key.model_copy(update={"over_limit": limit is not None and spent is not None and spent >= limit})


def describe_edit(before: ProviderKey, after: ProviderKey) -> dict[str, str]:
    """Return the former and the new values of the changed fields, for the audit."""
    old, new = (each.model_dump(mode="json", include={*_EDITABLE, "status"}) for each in (before, after))
    return describe_changes(old, new)


def name_changes(before: ProviderKey, after: ProviderKey) -> str:
    """Return the names of the changed fields, for the tenant."""
    names = [name for name in (*_EDITABLE, "status") if getattr(before, name) != getattr(after, name)]
    return ", ".join(names) or "nothing"


def _apply_expiry(key: ProviderKey, now: datetime) -> ProviderKey:
    if is_expired(key, now):
        return key.model_copy(update={"status": status_after(key, Event.RAN_OUT)})
    late = key.expires_at is not None and key.expires_at <= now
    return key if late else key.model_copy(update={"status": status_after(key, Event.EXTENDED)})


def _apply_switch(key: ProviderKey, disabled: bool | None, now: datetime) -> ProviderKey:
    if disabled is None:
        return key
    event = Event.SWITCHED_OFF if disabled else Event.SWITCHED_ON
    return _apply_expiry(key.model_copy(update={"status": status_after(key, event)}), now)
