"""Splits OpenAI-shaped usage objects into disjoint token counts.

OpenAI's rules (API reference, `usage`): `prompt_tokens` includes cached and audio tokens, `completion_tokens` includes
reasoning and audio, `total_tokens` is their sum. Compatible providers break each of them (all seen in recorded
traffic): xAI leaves reasoning out of `completion_tokens`, Grok on Azure leaves cached tokens out of `prompt_tokens`.
Where the total proves it, the counts are corrected, both for the ledger and for the caller. Where it does not, they
overlap: OpenRouter counts the same tokens as read from and written to the cache. Parts never add up to more than the
provider's own total.
"""

from dataclasses import dataclass, replace
from decimal import Decimal

from keyferry.contracts.money import PLACES
from keyferry.contracts.usage import TokenUsage
from services.provider_worker.adapters.response.json_text import JsonObject, as_object
from services.provider_worker.adapters.response.usage_counts import CountReader, UsageTally
from services.provider_worker.adapters.usage_report import NO_REPORT, RemainingTokens, UsageReport, usage_note

_QUANTUM = Decimal(1).scaleb(-PLACES)
_XAI_TICK = Decimal(1).scaleb(-10)
"""xAI reports its charge in ticks of 1e-10 dollars; recorded traffic agrees with its price list."""
TOTAL_ALONE = "total_tokens without its parts"
"""Names a total whose parts are missing, as if it could not be right: how it is divided is a guess."""
_PROMPTS = "prompt_tokens_details"
_COMPLETIONS = "completion_tokens_details"
_COSTS = ("cost_in_usd_ticks", "cost")
_MAX_COST_USD = 10**6
"""No single call costs more; a larger charge is a defect and is ignored."""


@dataclass(frozen=True, slots=True)
class OpenAIUsage:
    """What a provider reported.

    `openai` is the usage object for the caller: the provider's own, `node`, if it is already correct, and null if the
    prompt or the completion is unknown.
    """

    report: UsageReport
    node: JsonObject
    openai: JsonObject | None
    reported_cost_usd: Decimal | None

    @property
    def token_usage(self) -> TokenUsage:
        """The disjoint counts."""
        return self.report.token_usage


@dataclass(frozen=True, slots=True)
class _OpenAICounts:
    """Counts as OpenAI defines them: details are parts of `prompt` and `completion`. Null means not reported."""

    prompt: int
    completion: int
    cached: int | None
    cache_write: int | None
    reasoning: int | None
    prompt_audio: int
    prompt_image: int
    completion_audio: int
    completion_image: int


def read_usage(node: object) -> OpenAIUsage | None:
    """Read the usage in `node`; null if it is not a usage object. Never raises."""
    if not isinstance(node, dict):
        return None
    reader = CountReader()
    prompt = reader.read(node, "prompt_tokens", "input_tokens")
    completion = reader.read(node, "completion_tokens", "output_tokens")
    total = reader.read(node, "total_tokens")
    if prompt is None and completion is None and total is None and not reader.implausible:
        return None
    known = (prompt or 0) + (completion or 0) + _count_outside(reader, node)
    total = reader.check_total("total_tokens", total, known)
    alone = (TOTAL_ALONE,) if prompt is None and completion is None and total else ()
    if total is not None and total >= (prompt or 0) + (completion or 0):
        prompt, completion = _fill_from_total(prompt, completion, total)
    counts = _read_counts(reader, node, prompt or 0, completion or 0)
    # What is not known cannot be put right: its parts are all that is known of it.
    prompt_known, completion_known = prompt is not None, completion is not None
    if prompt_known and completion_known:
        counts = _correct_counts(counts, total)
    else:
        counts = _sum_of_parts(counts, prompt_known=prompt_known, completion_known=completion_known)
    cost = read_cost(node)
    report = UsageReport(
        _split_counts(counts),
        prompt_known,
        completion_known,
        reader.implausible + alone,
        implausible_cost=cost is None and _has_cost(node),
    )
    shown = _caller_usage(node, counts, report) if prompt_known and completion_known else None
    return OpenAIUsage(report, node, shown, cost)


def merge_usage(earlier: OpenAIUsage, later: OpenAIUsage) -> OpenAIUsage:
    """Return two reports of one answer as one: a later one that says less takes nothing away.

    A reported cost is kept only with the counts that it was reported with.
    """
    report = earlier.report.merge(later.report)
    main, other = (later, earlier) if _rank(later) >= _rank(earlier) else (earlier, later)
    node = _merge_nodes(other.node, main.node)
    counts = _merge_shown_counts(report.token_usage, earlier.node, later.node)
    shown = _caller_usage(node, counts, report) if report.prompt_known and report.completion_known else None
    merged, whole = report.token_usage, main.token_usage
    same = (whole.prompt, whole.completion) == (merged.prompt, merged.completion)
    return OpenAIUsage(report, node, shown, main.reported_cost_usd if same else None)


def _rank(usage: OpenAIUsage) -> tuple[int, Decimal]:
    return usage.report.token_usage.total, usage.reported_cost_usd or Decimal(0)


def openai_tally() -> UsageTally[OpenAIUsage]:
    """Create a tally of OpenAI-shaped usage objects."""
    return UsageTally(read_usage, merge_usage)


def report_and_cost(usage: OpenAIUsage | None) -> tuple[UsageReport, Decimal | None]:
    """Return the report and the reported cost in dollars of an answer with this usage (or none)."""
    return (NO_REPORT, None) if usage is None else (usage.report, usage.reported_cost_usd)


def read_cost(node: JsonObject) -> Decimal | None:
    """Return the reported charge in dollars with at most twelve decimal places.

    Reads the fields of OpenRouter, Perplexity and xAI.
    """
    ticks = node.get("cost_in_usd_ticks")
    if type(ticks) is int and 0 <= ticks * _XAI_TICK <= _MAX_COST_USD:
        return ticks * _XAI_TICK
    cost = node.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if isinstance(cost, bool) or not isinstance(cost, int | float | str | Decimal):
        return None
    try:
        # The shortest text that reads back as this float is the text the provider wrote, so nothing is lost by the float.
        amount = Decimal(str(cost))
        plausible = amount.is_finite() and 0 <= amount <= _MAX_COST_USD
        return amount.quantize(_QUANTUM).normalize() if plausible else None
    except ArithmeticError:
        return None


def _has_cost(node: JsonObject) -> bool:
    cost = node.get("cost")
    known = cost.get("total_cost") if isinstance(cost, dict) else cost
    return any(value not in (None, "") for value in (known, node.get("cost_in_usd_ticks")))


def _count_outside(reader: CountReader, node: JsonObject) -> int:
    """Return the tokens that a report may leave out of its prompt and its completion."""
    parts = _read_counts(reader, node, 0, 0)
    return (parts.cached or 0) + (parts.cache_write or 0) + (parts.reasoning or 0)


def _fill_from_total(prompt: int | None, completion: int | None, total: int) -> tuple[int, int]:
    """Return prompt and completion; the one that is missing is the rest of the total, both together are the prompt."""
    if prompt is None:
        return total - (completion or 0), completion or 0
    return prompt, total - prompt if completion is None else completion


def _read_counts(reader: CountReader, node: JsonObject, prompt: int, completion: int) -> _OpenAICounts:
    prompts = as_object(node.get("prompt_tokens_details") or node.get("input_tokens_details"))
    completions = as_object(node.get("completion_tokens_details") or node.get("output_tokens_details"))
    cached = reader.read(prompts, "cached_tokens", inside=_PROMPTS)
    cache_write = reader.read(prompts, "cache_write_tokens", "cache_creation_tokens", inside=_PROMPTS)
    reasoning = reader.read(completions, "reasoning_tokens", inside=_COMPLETIONS)
    if cached is None:
        cached = reader.read(
            node, "prompt_cache_hit_tokens", "cache_read_input_tokens", "num_cached_tokens", "cached_tokens"
        )
    for name in ("accepted_prediction_tokens", "rejected_prediction_tokens"):
        # Parts of the completion at its own price; read only to find those that cannot be right.
        reader.read(completions, name, inside=_COMPLETIONS)
    return _OpenAICounts(
        prompt=prompt,
        completion=completion,
        cached=cached,
        cache_write=reader.read(node, "cache_creation_input_tokens") if cache_write is None else cache_write,
        reasoning=reader.read(node, "reasoning_tokens") if reasoning is None else reasoning,
        prompt_audio=reader.read(prompts, "audio_tokens", inside=_PROMPTS) or 0,
        prompt_image=reader.read(prompts, "image_tokens", inside=_PROMPTS) or 0,
        completion_audio=reader.read(completions, "audio_tokens", inside=_COMPLETIONS) or 0,
        completion_image=reader.read(completions, "image_tokens", inside=_COMPLETIONS) or 0,
    )


def _correct_counts(counts: _OpenAICounts, total: int | None) -> _OpenAICounts:
    """Move counts into the sums that should include them.

    `total` is the provider's, and proves what it left out where. It bounds what is moved.
    """
    read, write, reasoning = counts.cached or 0, counts.cache_write or 0, counts.reasoning or 0
    cache = read + write
    missing = 0 if total is None else max(total - counts.prompt - counts.completion, 0)
    if cache and (missing == cache + reasoning or (missing == cache and missing != reasoning)):
        counts = replace(counts, prompt=counts.prompt + cache)
        missing -= cache
    elif max(read, write) > counts.prompt and (total is None or cache <= missing):
        # Cached tokens cannot be inside a prompt that is smaller. (Two counts that each fit may overlap.)
        counts = replace(counts, prompt=counts.prompt + cache)
        missing = max(missing - cache, 0)
    if total is None and reasoning > counts.completion:
        missing = reasoning
    if not missing:
        return counts
    # Tokens of the total that appear nowhere else are hidden reasoning: nothing else is billed and left out of both sums.
    hidden = reasoning if missing == reasoning else reasoning + missing
    return replace(counts, completion=counts.completion + missing, reasoning=hidden)


def _sum_of_parts(counts: _OpenAICounts, *, prompt_known: bool, completion_known: bool) -> _OpenAICounts:
    prompt = (counts.cached or 0) + (counts.cache_write or 0) + counts.prompt_audio + counts.prompt_image
    completion = (counts.reasoning or 0) + counts.completion_audio + counts.completion_image
    return replace(
        counts,
        prompt=counts.prompt if prompt_known else prompt,
        completion=counts.completion if completion_known else completion,
    )


def _split_counts(counts: _OpenAICounts) -> TokenUsage:
    prompt = RemainingTokens(counts.prompt)
    cached_read = prompt.take(counts.cached or 0)
    cache_write = prompt.take(counts.cache_write or 0)
    audio = prompt.take(counts.prompt_audio)
    image = prompt.take(counts.prompt_image)
    completion = RemainingTokens(counts.completion)
    reasoning = completion.take(counts.reasoning or 0)
    audio_output = completion.take(counts.completion_audio)
    image_output = completion.take(counts.completion_image)
    return TokenUsage(
        input=prompt.rest,
        cached_read=cached_read,
        cache_write=cache_write,
        output=completion.rest,
        reasoning=reasoning,
        audio=audio,
        image=image,
        audio_output=audio_output,
        image_output=image_output,
    )


def _merge_shown_counts(merged: TokenUsage, earlier: JsonObject, later: JsonObject) -> _OpenAICounts:
    """Return the counts to show for merged token usage: a detail that neither report has stays out."""
    reader = CountReader()
    one, two = _read_counts(reader, earlier, 0, 0), _read_counts(reader, later, 0, 0)
    return _OpenAICounts(
        prompt=merged.prompt,
        completion=merged.completion,
        cached=_larger(one.cached, two.cached),
        cache_write=_larger(one.cache_write, two.cache_write),
        reasoning=None
        if one.reasoning is None and two.reasoning is None and not merged.reasoning
        else merged.reasoning,
        prompt_audio=merged.audio,
        prompt_image=merged.image,
        completion_audio=merged.audio_output,
        completion_image=merged.image_output,
    )


def _merge_nodes(below: JsonObject, above: JsonObject) -> JsonObject:
    """Return both objects as one; where both have a value, that of `above` counts, and details are merged likewise."""
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            merged[name] = known | {field: count for field, count in value.items() if count is not None}
        elif value is not None:
            merged[name] = value
    return merged


def _larger(one: int | None, two: int | None) -> int | None:
    return max(one or 0, two or 0) if one is not None or two is not None else None


def _caller_usage(node: JsonObject, counts: _OpenAICounts, report: UsageReport) -> JsonObject:
    """Return `node` itself if its OpenAI fields are already correct, else a corrected copy, with a note of what cannot be."""
    implausible = report.implausible
    correct: JsonObject = {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }
    prompts = {"cached_tokens": counts.cached, "cache_write_tokens": counts.cache_write}
    for name, details, whole in (
        (_PROMPTS, prompts, counts.prompt),
        (_COMPLETIONS, {"reasoning_tokens": counts.reasoning}, counts.completion),
    ):
        known = {field: min(count, whole) for field, count in details.items() if count is not None}
        reported = as_object(node.get(name))
        kept = {field: value for field, value in reported.items() if f"{name}.{field}" not in implausible}
        if kept != reported or any(reported.get(field) != count for field, count in known.items()):
            correct[name] = kept | known
    correct |= usage_note(report)
    left_out = {*implausible, *(_COSTS if report.implausible_cost else ())} - correct.keys()
    rest = {field: value for field, value in node.items() if field not in left_out} if left_out else node
    if rest == node and all(
        node.get(field) == value and type(node[field]) is type(value) for field, value in correct.items()
    ):
        return node
    return rest | correct
