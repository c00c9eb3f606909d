"""Texts that are sent in place of what a provider wants and the caller did not write, and how a request is searched for them.

A caller reads of them in the response header `x-keyferry-added`. Pure.
"""

EMPTY_MESSAGE = "(empty message)"
"""Stands for a message of the user that holds nothing, where leaving it out would join or end other turns."""
EMPTY_RESULT = "(no output)"
"""Stands for a tool's result that holds nothing."""
NO_RESULT = "(this call has no result)"
"""Stands for the result of a call that the caller did not answer."""
CONVERSATION_START = "(the conversation begins with the assistant)"
"""Stands before an assistant's message that comes first."""
BETWEEN = "(results received)"
"""Stands for the assistant's turn between a tool's result and the user, where a provider wants one."""
PLACEHOLDERS = (EMPTY_MESSAGE, EMPTY_RESULT, NO_RESULT, CONVERSATION_START, BETWEEN)
_SOUGHT = tuple((text, text.encode()) for text in PLACEHOLDERS)


def find_added(sent: bytes, asked: bytes) -> tuple[str, ...]:
    """Return the placeholders that `sent` holds more often than `asked`, the caller's body."""
    return tuple(text for text, sought in _SOUGHT if sought in sent and sent.count(sought) > asked.count(sought))
