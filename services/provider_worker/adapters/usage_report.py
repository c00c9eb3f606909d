"""What a provider reported of one answer's token usage, and how several reports of it become one."""

from dataclasses import dataclass, field
from typing import Final

from keyferry.contracts.usage import TokenUsage, UsageSource

_PROMPT_PARTS = ("cached_read", "cache_write", "cache_write_1h", "audio", "image")
_COMPLETION_PARTS = ("reasoning", "audio_output", "image_output")


class RemainingTokens:
    """A sum from which parts are taken, never more than is left: details may overlap (cached audio), token counts must not."""

    def __init__(self, tokens: int) -> None:
        self.rest = tokens

    def take(self, tokens: int) -> int:
        """Take `tokens`, or what is left if that is less."""
        taken = min(tokens, self.rest)
        self.rest -= taken
        return taken


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What a provider reported of one answer. A side that is not known holds only the parts of it that are."""

    token_usage: TokenUsage = field(default_factory=TokenUsage)
    prompt_known: bool = False
    completion_known: bool = False
    implausible: tuple[str, ...] = ()
    """The provider's fields whose counts cannot be right."""

    @property
    def source(self) -> UsageSource:
        """Whether anything was reported."""
        return UsageSource.REPORTED if self.prompt_known or self.completion_known else UsageSource.NONE

    @property
    def exact(self) -> bool:
        """Whether all of it is known."""
        return self.prompt_known and self.completion_known and not self.implausible

    def merge(self, later: "UsageReport") -> "UsageReport":
        """Return this report and a later one of the same answer as one: one that says less takes nothing away."""
        if later.token_usage.total == 0 and self.source is UsageSource.REPORTED:
            # Zeros say nothing that would be new. A count that cannot be right leaves the end of the answer unknown.
            later = UsageReport(implausible=later.implausible)
        if later.exact:
            implausible: tuple[str, ...] = ()
        else:
            implausible = tuple(dict.fromkeys(self.implausible + later.implausible))
        return UsageReport(
            token_usage=_merge_counts(self.token_usage, later.token_usage),
            prompt_known=self.prompt_known or later.prompt_known,
            completion_known=self.completion_known or later.completion_known,
            implausible=implausible,
        )


NO_REPORT: Final = UsageReport()


def report_of_prompt(tokens: int | None, implausible: tuple[str, ...] = ()) -> UsageReport:
    """Return the report of an answer without a completion, as embeddings are; `tokens` is null if not reported."""
    known = tokens is not None
    return UsageReport(TokenUsage(input=tokens or 0), known, known, implausible)


def _merge_counts(earlier: TokenUsage, later: TokenUsage) -> TokenUsage:
    """Return the counts of two reports of one answer as one. Zeros say nothing.

    The completion only grows. The prompt does not: that of the report with more tokens counts (Google guesses it until the
    last piece of a stream).
    """
    main, other = (later, earlier) if later.total >= earlier.total else (earlier, later)
    prompt = RemainingTokens(main.prompt or other.prompt)
    completion = RemainingTokens(max(main.completion, other.completion))
    parts = {name: prompt.take(getattr(main, name) or getattr(other, name)) for name in _PROMPT_PARTS}
    parts |= {name: completion.take(max(getattr(main, name), getattr(other, name))) for name in _COMPLETION_PARTS}
    return TokenUsage(input=prompt.rest, output=completion.rest, **parts)
