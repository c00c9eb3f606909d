"""Fields that Gemini does not support: rejected by name, or dropped and reported if the tenant allows that."""

from collections.abc import Iterable

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import RefusedByAdapter


class UnsupportedFields:
    """Collects the dropped fields of one request. `drop` is the tenant's permission to drop any."""

    def __init__(self, *, drop: bool) -> None:
        self._drop = drop
        self._dropped: list[str] = []

    @property
    def dropped(self) -> tuple[str, ...]:
        """The dropped fields, in order, each once."""
        return tuple(dict.fromkeys(self._dropped))

    def drop_or_reject(self, param: str, advice: str) -> None:
        """Record that `param` is dropped. Raises RefusedByAdapter unless fields may be dropped."""
        if not self._drop:
            raise bad_field(param, f"not supported by Gemini: {advice}")
        self._dropped.append(param)

    def reject_unknown(self, names: Iterable[str]) -> None:
        """Drop or reject fields that neither OpenAI nor Gemini has.

        Raises RefusedByAdapter unless fields may be dropped.
        """
        for name in names:
            self.drop_or_reject(name, "unknown field; check its spelling or leave it out.")


def bad_field(param: str, message: str) -> RefusedByAdapter:
    """Build the rejection of a field with an unusable value, raised whether or not fields may be dropped."""
    return RefusedByAdapter(
        Failure(
            failure_class=FailureClass.BAD_REQUEST,
            message=f"`{param[:200]}`: {message}",
            where=Where.NOT_SENT,
            status=400,
            param=param[:200],
        )
    )
