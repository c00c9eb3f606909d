"""How sure a saved amount is, by rules that are the same for every recommendation. Pure."""

from keyferry.contracts.recommendations import Confidence

LEAST_SAMPLES = 5
"""With fewer requests nothing is recommended."""
_MEDIUM_SAMPLES, _HIGH_SAMPLES = 20, 50
LEAST_SAVED_MICRO_USD = 10_000
"""One cent over the days that were looked at."""
LEAST_SAVED_PERCENT = 5


def is_worth_it(saved_micro_usd: int, spend_micro_usd: int) -> bool:
    """Return whether an amount is worth a recommendation: at least a cent, and at least 5 % of what it is saved of."""
    return saved_micro_usd >= LEAST_SAVED_MICRO_USD and 100 * saved_micro_usd >= LEAST_SAVED_PERCENT * spend_micro_usd


def rate_sample(sampled: int, doubts: list[str]) -> tuple[Confidence, str]:
    """Return the confidence and why: by the size of the sample, one step lower if there is any doubt besides."""
    order = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)
    step = 2 if sampled >= _HIGH_SAMPLES else 1 if sampled >= _MEDIUM_SAMPLES else 0
    reasons = [f"{sampled} of your requests were planned and priced again", *doubts]
    return order[max(step - (1 if doubts else 0), 0)], "; ".join(reasons)
