"""The notice that a channel or endpoint was switched off, as it waits in the queue. Pure."""

from keyferry.contracts.envelope import Message
from keyferry.contracts.text import Explanation, Line


class SwitchedOff(Message):
    """Which target it was, and why."""

    target_id: Line
    name: Line
    reason: Explanation
