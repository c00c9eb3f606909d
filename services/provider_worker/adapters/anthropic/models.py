"""How Claude models differ in what a request may hold, derived from their names.

Source: Anthropic's documentation of models, extended and adaptive thinking, effort, structured outputs, and the
migration guides of the models. Names carry the version after the family (`claude-sonnet-4-5-20250929`) or before it
(`claude-3-7-sonnet-latest`). A name without a version is read as a recent model of the widest compatibility: budgets
for thinking, no structured outputs.
"""

import re
from dataclasses import dataclass

_FAMILIES = ("opus", "sonnet", "haiku", "fable", "mythos")
_FAMILY = re.compile("|".join(_FAMILIES))
_NUMBER = re.compile(r"(?<![0-9.])(\d{1,2})(?:[-.](\d{1,2}))?(?![0-9.])")
_UNKNOWN = (4, 0)

_MAX_OUTPUT_TOKENS = (((4, 0), 32_000), ((3, 7), 32_000), ((3, 5), 8192), ((0, 0), 4096))
_LIMITS_BEFORE_4 = (((3, 7), 128_000), ((3, 5), 8192), ((0, 0), 4096))
_FORCED_TOOLS_REFUSED = {"fable": (5, 1), "mythos": (5, 1), "opus": (5, 5), "sonnet": (5, 5)}
DEFAULT_MAX_TOKENS = 4096
"""The limit of an answer if neither the caller nor the model's name implies one; the API requires a number."""


@dataclass(frozen=True, slots=True)
class ClaudeModel:
    """One model's family (empty if the name has none) and version."""

    family: str
    version: tuple[int, int]
    known: bool = True

    @property
    def default_max_tokens(self) -> int:
        """Tokens of an answer if the caller sets no limit: what every model of that version supports."""
        if not self.known:
            return DEFAULT_MAX_TOKENS
        return next(tokens for version, tokens in _MAX_OUTPUT_TOKENS if self.version >= version)

    @property
    def max_output_tokens(self) -> int | None:
        """The most tokens of an answer, or null for models whose limit is not listed here."""
        if not self.known or self.version >= (4, 6):
            return None
        if self.version >= (4, 0):
            return 32_000 if self.family == "opus" and self.version < (4, 5) else 64_000
        return next(tokens for version, tokens in _LIMITS_BEFORE_4 if self.version >= version)

    @property
    def thinks_adaptively_only(self) -> bool:
        """Whether it takes no budget for thinking any more."""
        return self.omits_thinking_text

    @property
    def can_think(self) -> bool:
        """Whether it has extended thinking at all."""
        return self.version >= (3, 7)

    @property
    def thinks_adaptively(self) -> bool:
        """Whether `thinking: adaptive` with an effort replaces a budget of tokens."""
        return self.version >= (4, 6) or self.family in ("fable", "mythos")

    @property
    def thinks_by_default(self) -> bool:
        """Whether it thinks by default."""
        return self.version >= (5, 0) or self.family in ("fable", "mythos")

    @property
    def always_thinks(self) -> bool:
        """Whether thinking cannot be turned off."""
        return self.family in ("fable", "mythos") or (self.family == "opus" and self.version >= (5, 5))

    @property
    def thinking_off(self) -> str:
        """The type of `thinking` that turns it off if it is on by default."""
        return "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"

    @property
    def omits_thinking_text(self) -> bool:
        """Whether thinking has no text unless `display` requests a summary."""
        return self.version >= (4, 7) or self.family in ("fable", "mythos")

    @property
    def takes_highest_efforts(self) -> bool:
        """Whether it supports the effort `xhigh`."""
        return self.omits_thinking_text

    @property
    def takes_sampling(self) -> bool:
        """Whether it supports temperature, top_p and top_k."""
        return not self.omits_thinking_text

    @property
    def takes_one_of_temperature_and_top_p(self) -> bool:
        """Whether temperature and top_p exclude each other."""
        return self.version >= (4, 1)

    @property
    def takes_forced_tools(self) -> bool:
        """Whether `tool_choice` may force a tool."""
        since = _FORCED_TOOLS_REFUSED.get(self.family)
        return since is None or self.version < since

    @property
    def continues_answers(self) -> bool:
        """Whether a conversation may end with the beginning of the model's answer (a prefill)."""
        return self.version < (4, 6) and self.family not in ("fable", "mythos")

    @property
    def has_structured_outputs(self) -> bool:
        """Whether it enforces a schema on answers and tool arguments itself."""
        return self.version >= (4, 5) or self.family in ("fable", "mythos")


def claude_model(name: str) -> ClaudeModel:
    """Parse the model's name."""
    lowered = name.lower()
    family = _FAMILY.search(lowered)
    number = _NUMBER.search(lowered)
    if number is None:
        return ClaudeModel(family[0] if family else "", _UNKNOWN, known=False)
    return ClaudeModel(family[0] if family else "", (int(number[1]), int(number[2] or 0)))
