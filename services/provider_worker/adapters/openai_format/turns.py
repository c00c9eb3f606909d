"""Joins translated messages to turns as providers with an API of their own want them: alternating, none of them empty or blank.

Sources: Anthropic's Messages API reference and its errors ("text content blocks must contain non-whitespace text",
"final assistant content cannot end with trailing whitespace", "first message must use the user role"), the AWS API
reference of Converse ("A conversation must start with a user message"), the Gemini API reference of `Content`. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.provider_worker.adapters.openai_format.placeholders import CONVERSATION_START, EMPTY_MESSAGE
from services.provider_worker.adapters.response.json_text import JsonObject, as_text


@dataclass(slots=True)
class Turn:
    """The translated content of one message or several; `path` names the last of them."""

    role: str
    """`user` or `assistant`."""
    blocks: list[JsonObject]
    path: str
    alone: bool = False
    """Whether it may not be joined with others."""


def join_turns(turns: list[Turn], text_block: Callable[[str], JsonObject]) -> list[Turn]:
    """Return alternating turns, none of them empty, beginning with the user's; empty if nothing was said at all."""
    said = [turn for turn in turns if turn.blocks or turn.role == "user"]
    if not any(turn.blocks for turn in said):
        return []
    joined: list[Turn] = []
    for turn in said:
        last = joined[-1] if joined else None
        if last is not None and last.role == turn.role:
            if not turn.blocks:
                continue
            if not last.blocks:
                joined.pop()
            elif not last.alone and not turn.alone:
                joined[-1] = Turn(turn.role, last.blocks + turn.blocks, turn.path)
                continue
        joined.append(turn)
    for turn in joined:
        turn.blocks = turn.blocks or [text_block(EMPTY_MESSAGE)]
    if joined[0].role == "assistant":
        joined.insert(0, Turn("user", [text_block(CONVERSATION_START)], joined[0].path))
    return joined


def trim_end(turns: list[Turn]) -> None:
    """Cut white space off the end of an assistant's last turn, which the answer continues."""
    while turns and turns[-1].role == "assistant":
        blocks = turns[-1].blocks
        text = as_text(blocks[-1].get("text"))
        if not text or text == text.rstrip():
            return
        if text.rstrip():
            blocks[-1] = {**blocks[-1], "text": text.rstrip()}
            return
        blocks.pop()
        if not blocks:
            turns.pop()
