"""What a provider reported of one answer's token usage, and how several reports of it become one."""

from dataclasses import dataclass, field
from typing import Final

from keyferry.contracts.usage import TokenUsage, UsageSource

ZERO_NOTE: Final = "the provider answered and reported zero tokens"
_MAX_NOTE_FIELDS = 4
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
    implausible_cost: bool = False
    """Whether its charge cannot be right; it is left out."""

    @property
    def note(self) -> str | None:
        """Why not all of the report is used, or null if it is, or if there was none."""
        if self.implausible:
            return f"these counts of the provider cannot be right: {', '.join(self.implausible[:_MAX_NOTE_FIELDS])}"
        if self.source is UsageSource.NONE:
            return None
        if not (self.prompt_known and self.completion_known):
            return f"the provider did not report the {'completion' if self.prompt_known else 'prompt'}"
        return "the cost that the provider reported cannot be right" if self.implausible_cost else None

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
            later = UsageReport(implausible=later.implausible, implausible_cost=later.implausible_cost)
        if later.exact:
            implausible: tuple[str, ...] = ()
        else:
            implausible = tuple(dict.fromkeys(self.implausible + later.implausible))
        return UsageReport(
            token_usage=_merge_counts(self.token_usage, later.token_usage),
            prompt_known=self.prompt_known or later.prompt_known,
            completion_known=self.completion_known or later.completion_known,
            implausible=implausible,
            implausible_cost=self.implausible_cost or later.implausible_cost,
        )


NO_REPORT: Final = UsageReport()


def usage_note(report: UsageReport) -> dict[str, str]:
    """Return the field of the caller's usage object that says what is said in the ledger: not all of it can be right."""
    zero = report.source is UsageSource.REPORTED and report.token_usage.total == 0
    note = report.note or ("the provider reported zero tokens" if zero else None)
    return {} if note is None else {"usage_note": note}


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
