"""What Anthropic cannot do: refused by the field's name, or left out and reported where the tenant allows that."""

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import RefusedByAdapter


class UnsupportedFields:
    """Keeps the rule of one request. `dropped` are the fields that were left out, each once, in order."""

    def __init__(self, *, drop: bool) -> None:
        self._drop = drop
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The names of the fields that were left out."""
        return tuple(self._dropped)

    def drop_or_reject(self, field: str, why: str) -> None:
        """Notes that `field` is left out. Raises RefusedByAdapter where the tenant does not allow that."""
        if not self._drop:
            raise bad_field(field, f"{why} Leave out `{field}`, or let the gateway drop what a provider cannot do.")
        self._dropped[field] = None


def bad_field(field: str | None, message: str) -> RefusedByAdapter:
    """The refusal of a request that makes no sense to Anthropic whatever is left out; `message` says what to do."""
    return RefusedByAdapter(
        Failure(failure_class=FailureClass.BAD_REQUEST, message=message, where=Where.NOT_SENT, status=400, param=field)
    )
