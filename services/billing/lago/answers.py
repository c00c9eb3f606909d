"""What Lago says about a batch that it refuses. Pure."""

from dataclasses import dataclass, field
from typing import Any

from keyferry.contracts.text import clean, parse_digits

_KNOWN_CODE = "value_already_exist"
_ID_FIELD = "transaction_id"
_MOST_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class BatchRefusal:
    """Lago takes a batch whole or not at all. This says which events are to blame, by their position, where Lago does."""

    reason: str
    known: frozenset[int] = frozenset()
    """Positions of events that Lago has already."""
    bad: dict[int, str] = field(default_factory=dict)
    """Positions of other events that it does not take, and why."""

    @property
    def names_events(self) -> bool:
        """Whether it says which events are to blame."""
        return bool(self.known or self.bad)


def read_refusal(answer: object, count: int) -> BatchRefusal:
    """Return what Lago's answer to a batch of `count` events says; positions that there are not are left out."""
    if not isinstance(answer, dict):
        return BatchRefusal("Lago refuses it without a reason")
    details = answer.get("error_details")
    reason = _text(details or answer.get("code") or answer.get("error") or "Lago refuses it without a reason")
    if not isinstance(details, dict):
        return BatchRefusal(reason)
    if count == 1 and _is_known(details):
        return BatchRefusal(reason, known=frozenset({0}))
    known, bad = set(), {}
    for name, problem in details.items():
        position = parse_digits(str(name))
        if position is None or position >= count:
            continue
        if _is_known(problem):
            known.add(position)
        else:
            bad[position] = _text(problem)
    return BatchRefusal(reason, frozenset(known), bad)


def _is_known(problem: Any) -> bool:
    """Return whether the only problem of an event is that Lago has it."""
    return isinstance(problem, dict) and set(problem) == {_ID_FIELD} and problem[_ID_FIELD] == [_KNOWN_CODE]


def _text(problem: object) -> str:
    if isinstance(problem, dict):
        parts = [f"{name}: {_text(value)}" for name, value in list(problem.items())[:10]]
        return clean("; ".join(parts), _MOST_CHARACTERS)
    if isinstance(problem, list):
        return clean(", ".join(_text(value) for value in problem[:10]), _MOST_CHARACTERS)
    return clean(str(problem), _MOST_CHARACTERS)
