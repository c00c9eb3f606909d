"""What can be changed of a stored key without entering it again. Pure."""

from datetime import UTC, datetime

from keyferry.contracts.key import EditKey, ProviderKey
from keyferry.contracts.service import ErrorCode
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys.lifecycle import Event, happened, over_time, rescheduled

_PLAIN = ("label", "priority", "weight", "allowed_models", "expires_at", "monthly_limit_usd")


def apply_edit(key: ProviderKey, command: EditKey, now: datetime, jitter: float) -> ProviderKey:
    """The key as `command` wants it. Raises Rejected for a date in the past, or a field both set and cleared."""
    changes = {name: value for name in _PLAIN if (value := getattr(command, name)) is not None}
    if both := sorted(changes.keys() & set(command.clear)):
        raise RequestRejected(ErrorCode.INVALID, f"{', '.join(both)} cannot be set and cleared at the same time")
    if command.expires_at is not None:
        changes["expires_at"] = future(command.expires_at, now)
    changes |= dict.fromkeys(command.clear)
    changed = apply_limit(key.model_copy(update=changes))
    return rescheduled(_switched(_dated(changed, now), command.disabled, now), now, jitter)


def future(moment: datetime | None, now: datetime) -> datetime | None:
    """The moment in UTC; one without a zone is in UTC. Raises Rejected when it has passed."""
    if moment is None:
        return None
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if zoned <= now:
        raise RequestRejected(
            ErrorCode.INVALID, f"the date of expiry has passed: {zoned.isoformat()}; give one in the future"
        )
    return zoned


def apply_limit(key: ProviderKey) -> ProviderKey:
    """The key, over its monthly limit exactly when what was spent this month reaches the limit."""
    spent, limit = key.spent_usd, key.monthly_limit_usd
    return key.model_copy(update={"over_limit": limit is not None and spent is not None and spent >= limit})


def changed_names(before: ProviderKey, after: ProviderKey) -> str:
    """The names of what is different, for the audit and the tenant."""
    names = [name for name in (*_PLAIN, "status") if getattr(before, name) != getattr(after, name)]
    return ", ".join(names) or "nothing"


def _dated(key: ProviderKey, now: datetime) -> ProviderKey:
    if over_time(key, now):
        return key.model_copy(update={"status": happened(key, Event.RAN_OUT)})
    late = key.expires_at is not None and key.expires_at <= now
    return key if late else key.model_copy(update={"status": happened(key, Event.EXTENDED)})


def _switched(key: ProviderKey, disabled: bool | None, now: datetime) -> ProviderKey:
    if disabled is None:
        return key
    event = Event.SWITCHED_OFF if disabled else Event.SWITCHED_ON
    return _dated(key.model_copy(update={"status": happened(key, event)}), now)
