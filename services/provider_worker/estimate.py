"""Estimated token usage where the provider reported none, or none that can be right; always marked as an estimate.

A token is four characters of text, and a delivered delta with content is one token, which is how providers split their
streams. Good enough to see what a cancelled stream cost. Pure.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from keyferry.contracts.usage import TokenUsage, UsageSource
from services.provider_worker.adapters.response.json_text import JsonObject, as_object, as_objects, parse_object
from services.provider_worker.adapters.response.prompt_estimate import (
    content_texts,
    estimate_prompt,
    estimate_tokens,
)
from services.provider_worker.adapters.usage_report import ZERO_NOTE, UsageReport


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
        return AccountedUsage(guess(), UsageSource.ESTIMATED, ZERO_NOTE)
    if report.exact:
        return AccountedUsage(report.token_usage, UsageSource.REPORTED, report.note)
    note = report.note
    if report.source is UsageSource.NONE and not chargeable:
        return AccountedUsage(TokenUsage(), UsageSource.NONE, note)
    counts, guessed = report.token_usage, guess()
    missing_input = 0 if report.prompt_known else max(guessed.prompt - counts.prompt, 0)
    missing_output = 0 if report.completion_known else max(guessed.completion - counts.completion, 0)
    completed = counts.model_copy(
        update={"input": counts.input + missing_input, "output": counts.output + missing_output}
    )
    return AccountedUsage(completed, UsageSource.ESTIMATED, note)


def estimate(request_body: bytes, *, deltas: int, answer_body: bytes = b"", late: tuple[bytes, ...] = ()) -> TokenUsage:
    """Estimate the usage of a call from its prompt and what came back, as deltas or as a whole body.

    `late` are the chunks that the end of a stream brought: a whole answer may come in one.
    """
    texts = [text for body in (answer_body, *late) for text in _answer_texts(parse_object(body))]
    output = max(deltas, estimate_tokens(texts))
    return TokenUsage(input=estimate_prompt(parse_object(request_body)), output=output)


def _answer_texts(document: JsonObject | None) -> Iterator[str]:
    for choice in as_objects(as_object(document).get("choices")):
        message = as_object(choice.get("message")) or as_object(choice.get("delta"))
        for part in ("content", "reasoning_content", "refusal"):
            yield from content_texts(message.get(part))
