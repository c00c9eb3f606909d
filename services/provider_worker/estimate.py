"""Estimated token usage where the provider reported none, or none that can be right; always marked as an estimate.

A token is four characters of text (the rule of thumb in providers' documentation for English), and a delivered delta with
content is one token, which is how providers split their streams. Good enough to see what a cancelled stream cost. Pure.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.usage_report import UsageReport

_CHARACTERS_PER_TOKEN = 4
_MAX_NOTE_FIELDS = 4


@dataclass(frozen=True, slots=True)
class AccountedUsage:
    """The token usage to record, its source and, for an estimate in spite of a report, the reason."""

    token_usage: TokenUsage
    source: UsageSource
    note: str | None = None


def account(
    report: UsageReport, guess: Callable[[], TokenUsage], *, answered: bool, chargeable: bool
) -> AccountedUsage:
    """Return the usage to record for what the provider reported.

    What is known of it is kept as reported; what is not comes from `guess`, and makes the whole an estimate. `answered` says
    that there was some output, `chargeable` that the provider may charge for the attempt.
    """
    if report.token_usage.total == 0 and answered and report.source is UsageSource.REPORTED:
        return AccountedUsage(guess(), UsageSource.ESTIMATED, "the provider answered and reported zero tokens")
    if report.exact:
        return AccountedUsage(report.token_usage, UsageSource.REPORTED)
    note = _explain(report)
    if report.source is UsageSource.NONE and not chargeable:
        return AccountedUsage(TokenUsage(), UsageSource.NONE, note)
    counts, guessed = report.token_usage, guess()
    missing_input = 0 if report.prompt_known else max(guessed.prompt - counts.prompt, 0)
    missing_output = 0 if report.completion_known else max(guessed.completion - counts.completion, 0)
    completed = counts.model_copy(
        update={"input": counts.input + missing_input, "output": counts.output + missing_output}
    )
    return AccountedUsage(completed, UsageSource.ESTIMATED, note)


def _explain(report: UsageReport) -> str | None:
    """Return why a report is not exact, or null if there was none."""
    if report.implausible:
        return f"these counts of the provider cannot be right: {', '.join(report.implausible[:_MAX_NOTE_FIELDS])}"
    if report.source is UsageSource.NONE:
        return None
    return f"the provider did not report the {'completion' if report.prompt_known else 'prompt'}"


def estimate(request_body: bytes, *, deltas: int, answer_body: bytes = b"") -> TokenUsage:
    """Estimate the usage of a call from its prompt and what came back, as deltas or as a whole body."""
    output = deltas or _tokens(_answer_texts(_parse(answer_body)))
    return TokenUsage(input=_tokens(_prompt_texts(_parse(request_body))), output=output)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _tokens(texts: Iterator[str]) -> int:
    return math.ceil(sum(map(len, texts)) / _CHARACTERS_PER_TOKEN)


def _prompt_texts(document: Any) -> Iterator[str]:
    messages = document.get("messages") if isinstance(document, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            yield from _content_texts(message.get("content"))
    texts = document.get("input") if isinstance(document, dict) else None
    for text in texts if isinstance(texts, list) else (texts,):
        if isinstance(text, str):
            yield text


def _answer_texts(document: Any) -> Iterator[str]:
    choices = document.get("choices") if isinstance(document, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict):
            for part in ("content", "reasoning_content", "refusal"):
                yield from _content_texts(message.get(part))


def _content_texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield part["text"]
