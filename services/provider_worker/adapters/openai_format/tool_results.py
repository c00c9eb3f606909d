"""Pairs tool calls with their results, as every provider wants them: each result directly behind the turn of its call.

Sources: the OpenAI API ("An assistant message with 'tool_calls' must be followed by tool messages responding to each
'tool_call_id'"), Anthropic's documentation of tool use (results come first in the next turn), the Gemini API (as many
responses as calls), mistral-common's validation of requests. Results that came late or out of order are moved; a call
that was never answered gets a result that says so. A result without a call and a second result of one call have no
meaning, and are rejected. Pure.
"""

from dataclasses import dataclass

from services.provider_worker.adapters.adapter import RefusedByAdapter, bad_request
from services.provider_worker.adapters.openai_format.identifiers import IdentifierRule
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_text

CallPlace = tuple[int, int]
"""The position of a message, and of a call among its `tool_calls`."""


@dataclass(frozen=True, slots=True)
class PairedMessages:
    """Which messages go where, and which call each result answers."""

    order: list[int | CallPlace]
    """The positions of all messages in the order to send; a call stands for a result that is missing."""
    owners: dict[int, CallPlace]
    """Position of a result -> its call."""


def calls_of(message: object) -> list[JsonObject]:
    """Return the tool calls of a message of the assistant."""
    fields = as_object(message)
    calls = fields.get("tool_calls")
    if fields.get("role") != "assistant" or not isinstance(calls, list):
        return []
    return [as_object(call) for call in calls]


def is_paired(messages: list[object], rule: IdentifierRule | None) -> bool:
    """Return whether every result is where it belongs already, and every id is the call's own and within `rule`.

    Most conversations are: this saves them the work of `pair_tool_results`.
    """
    taken: set[str] = set()
    expected: list[str] = []
    answered = 0
    for message in messages:
        if not isinstance(message, dict):
            return False
        if message.get("role") == "tool":
            if answered == len(expected) or message.get("tool_call_id") != expected[answered]:
                return False
            answered += 1
            continue
        if answered < len(expected):
            return False
        calls = message.get("tool_calls")
        if calls:
            expected, answered = [], 0
            for call in calls if isinstance(calls, list) and message.get("role") == "assistant" else ():
                call_id = call.get("id") if isinstance(call, dict) else None
                if not isinstance(call_id, str) or call_id in taken or not (rule is None or rule.takes(call_id)):
                    return False
                taken.add(call_id)
                expected.append(call_id)
    return answered == len(expected)


def pair_tool_results(messages: list[object]) -> PairedMessages:
    """Return the order to send the messages in. Raises RefusedByAdapter for results without a call."""
    open_calls: dict[str, list[CallPlace]] = {}
    answered: dict[CallPlace, int] = {}
    owners: dict[int, CallPlace] = {}
    for position, message in enumerate(messages):
        for number, call in enumerate(calls_of(message)):
            open_calls.setdefault(as_text(call.get("id")), []).append((position, number))
        if as_object(message).get("role") == "tool":
            place = _find_call(as_object(message), position, open_calls)
            answered[place] = position
            owners[position] = place
    return PairedMessages(_sort(messages, answered), owners)


def _find_call(message: JsonObject, position: int, open_calls: dict[str, list[CallPlace]]) -> CallPlace:
    call_id = as_text(message.get("tool_call_id"))
    places = open_calls.get(call_id)
    if not call_id or places is None:
        raise _rejection(position, "must name a tool call of an assistant message before this one")
    if not places:
        raise _rejection(position, "names a tool call that has a result already; leave one of them out")
    return places.pop(0)


def _rejection(position: int, what: str) -> RefusedByAdapter:
    field = f"messages[{position}].tool_call_id"
    return bad_request(f"`{field}` {what}.", field)


def _sort(messages: list[object], answered: dict[CallPlace, int]) -> list[int | CallPlace]:
    order: list[int | CallPlace] = []
    for position, message in enumerate(messages):
        if as_object(message).get("role") != "tool":
            order.append(position)
            places = [(position, number) for number, call in enumerate(calls_of(message)) if call.get("id")]
            order += [answered.get(place, place) for place in places]
    return order
