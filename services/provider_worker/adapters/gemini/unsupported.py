"""What Gemini cannot take of an OpenAI request: refused by name, or left out and reported where the tenant allows."""

from collections.abc import Iterable

from keyferry.contracts.failure import Failure, FailureClass, Where
from services.provider_worker.adapters.adapter import RefusedByAdapter


class UnsupportedFields:
    """Collects what was left out of one request. `drop` is the tenant's leave to do that."""

    def __init__(self, *, drop: bool) -> None:
        self._drop = drop
        self._dropped: list[str] = []

    @property
    def dropped(self) -> tuple[str, ...]:
        """The fields that were left out, in order, each once."""
        return tuple(dict.fromkeys(self._dropped))

    def drop_or_reject(self, param: str, advice: str) -> None:
        """Gemini has nothing for the field `param`. Raises RefusedByAdapter, unless fields may be dropped."""
        if not self._drop:
            raise bad_field(param, f"Gemini cannot take it: {advice}")
        self._dropped.append(param)

    def reject_unknown(self, names: Iterable[str]) -> None:
        """Fields that neither OpenAI nor Gemini has. Raises RefusedByAdapter, unless fields may be dropped."""
        for name in names:
            self.drop_or_reject(name, "no such field is known; check its spelling or leave it out.")


def bad_field(param: str, message: str) -> RefusedByAdapter:
    """The refusal of a field whose value nothing can be made of, to be raised whether or not fields may be dropped."""
    return RefusedByAdapter(
        Failure(
            failure_class=FailureClass.BAD_REQUEST,
            message=f"`{param[:200]}`: {message}",
            where=Where.NOT_SENT,
            status=400,
            param=param[:200],
        )
    )
