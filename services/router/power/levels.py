"""The bounds of each power level, and the level that `auto` takes for a request. Pure."""

from dataclasses import dataclass

from keyferry.contracts.features import PowerLevel, RequestFeatures
from services.router.power.quality import Kind

LONG_CONTEXT_TOKENS = 100_000
"""From so many input tokens on, a request is of the kind `long_context`."""
DEFAULT_OUTPUT_TOKENS = 1000
"""What an answer is expected to have where costs are compared; less if the request limits it to less."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a model must have for a level."""

    quality: int
    """The least quality, from 0 to 100."""
    latency_ms: int
    """The longest time in which 95 of 100 recent answers were complete."""


BOUNDS = {
    PowerLevel.ECO: Bounds(quality=50, latency_ms=60_000),
    PowerLevel.BALANCED: Bounds(quality=65, latency_ms=30_000),
    PowerLevel.PRECISION: Bounds(quality=80, latency_ms=120_000),
}
LEAST_SAMPLES = 20
"""With fewer recent answers, a model's latency counts as unknown, which is within every bound."""

_LENGTHS = ((64_000, 3), (16_000, 2), (2_000, 1))
"""Input tokens from which `auto` counts so many points."""
_BALANCED_POINTS, _PRECISION_POINTS = 1, 4
_CODE_POINTS = 2


@dataclass(frozen=True, slots=True)
class AutoLevel:
    """The level that `auto` takes, and why."""

    level: PowerLevel
    detail: str


def choose_auto_level(features: RequestFeatures) -> AutoLevel:
    """Return the level for what a request needs.

    Points: code 2; tools, JSON Schema, images and audio 1 each; an input of 2,000 tokens 1, of 16,000 2, of 64,000 3. None makes
    `eco`, up to three `balanced`, more `precision`.
    """
    reasons: list[str] = []
    points = 0
    if features.code:
        reasons.append("code")
        points += _CODE_POINTS
    for name, present in (
        ("tools", features.tools),
        ("a JSON Schema", features.json_schema),
        ("images", features.images),
        ("audio", features.audio),
    ):
        if present:
            reasons.append(name)
            points += 1
    points += next((worth for least, worth in _LENGTHS if features.input_tokens >= least), 0)
    reasons.append(f"about {format_count(features.input_tokens)} tokens of input")
    if points >= _PRECISION_POINTS:
        level = PowerLevel.PRECISION
    elif points >= _BALANCED_POINTS:
        level = PowerLevel.BALANCED
    else:
        level = PowerLevel.ECO
    return AutoLevel(level, f"auto chose {level}: {', '.join(reasons)} ({points} points)")


def kind_of(features: RequestFeatures) -> Kind:
    """Return the kind of a request, of which its model has to be good."""
    if features.code:
        return Kind.CODE
    if features.images:
        return Kind.VISION
    return Kind.LONG_CONTEXT if features.input_tokens >= LONG_CONTEXT_TOKENS else Kind.GENERAL


def expected_output_tokens(features: RequestFeatures) -> int:
    """Return how many tokens an answer is expected to have, for comparing costs."""
    limit = features.max_output_tokens
    return DEFAULT_OUTPUT_TOKENS if limit is None else min(limit, DEFAULT_OUTPUT_TOKENS)


def format_count(count: int) -> str:
    """Return a number with a space between thousands."""
    return f"{count:,}".replace(",", " ")
