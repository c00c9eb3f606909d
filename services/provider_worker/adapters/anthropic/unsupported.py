"""Fields that Anthropic does not support: rejected by name, or dropped and reported if the tenant allows that."""

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import RefusedByAdapter


class UnsupportedFields:
    """Collects the dropped fields of one request, each once, in order."""

    def __init__(self, *, drop: bool) -> None:
        self._drop = drop
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the dropped fields."""
        return tuple(self._dropped)

    def drop_or_reject(self, field: str, why: str) -> None:
        """Record that `field` is dropped. Raises RefusedByAdapter if the tenant does not allow that."""
        if not self._drop:
            raise bad_field(
                field, f"{why} Leave out `{field}`, or have your operator allow dropping unsupported fields."
            )
        self._dropped[field] = None


def bad_field(field: str | None, message: str) -> RefusedByAdapter:
    """Build the rejection of a request that is invalid for Anthropic whatever is dropped; `message` says what to do."""
    return RefusedByAdapter(
        Failure(failure_class=FailureClass.BAD_REQUEST, message=message, where=Where.NOT_SENT, status=400, param=field)
    )
