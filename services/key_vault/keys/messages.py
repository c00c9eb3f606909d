"""Messages to a tenant about its keys. They repeat no part of a key. Pure."""

from collections.abc import Iterable
from decimal import Decimal

from keyferry.contracts.key import KeyStatus, KeyTest, KeyTestStep, ProviderKey, StepResult
from keyferry.contracts.money import describe_sum, plain
from keyferry.contracts.providers import PROVIDERS

_STATUS = {
    KeyStatus.UNTESTED: "it is untested: whether the provider accepts it is unknown",
    KeyStatus.VALID: "it works",
    KeyStatus.DEGRADED: "the provider accepts it with limitations",
    KeyStatus.INVALID: "the provider does not accept it",
    KeyStatus.EXPIRED: "it has expired",
    KeyStatus.DISABLED: "it is switched off",
    KeyStatus.UNDECRYPTABLE: "the vault cannot decrypt its record: the KEK is missing or the record was changed",
}
_STEPS = {
    KeyTestStep.REACHABLE: "reachable",
    KeyTestStep.ACCEPTED: "accepted",
    KeyTestStep.CREDIT: "has credit",
    KeyTestStep.MODEL: "model or region allowed",
}


def describe_key(key: ProviderKey) -> str:
    """Return a key's provider, label and masked form."""
    return f"{PROVIDERS.describe(key.provider).title} key {key.label} ({key.masked})"


def describe_steps(steps: Iterable[StepResult]) -> str:
    """Return the steps of a test on one line, each with its outcome and duration."""
    return "; ".join(_describe_step(step) for step in steps) or "no step was reached"


def find_failed_step(check: KeyTest) -> StepResult | None:
    """Return the first step that failed."""
    return next((step for step in check.steps if step.passed is False), None)


def describe_test(key: ProviderKey, check: KeyTest) -> str:
    """Describe a test's result and the key's status."""
    failed = find_failed_step(check)
    because = f" ({_STEPS[failed.step]}: {failed.detail})" if failed else ""
    return f"{describe_key(key)} was tested: {check.result}{because}; {_STATUS[key.status]}"


def describe_change(key: ProviderKey, what: str) -> str:
    """Describe what happened to a key, and its status."""
    return f"{describe_key(key)} {what}; {_STATUS[key.status]}"


def describe_over_limit(key: ProviderKey) -> str:
    """Report a monthly limit that is spent."""
    limit, spent = key.monthly_limit_usd, key.spent_usd
    figures = "" if limit is None or spent is None else f": {describe_sum(spent, key.unpriced)} of ${plain(limit)}"
    return f"{describe_key(key)} has reached its monthly limit{figures}; it is blocked until the month ends or the limit rises"


def describe_within_limit(key: ProviderKey) -> str:
    """Report a key that may be used again."""
    return f"{describe_key(key)} is within its monthly limit again"


def describe_rotation_due(key: ProviderKey, age_days: int) -> str:
    """Report a secret that is due for rotation."""
    return (
        f"{describe_key(key)} is {age_days} days old: make a new one at the provider and put it in its place"
        f" (`keyferry keys rotate {key.key_id} --tenant {key.tenant}`)"
    )


def describe_credit_low(key: ProviderKey, left: Decimal, threshold: Decimal) -> str:
    """Report low credit."""
    amounts = f"${plain(left)} of credit left, less than ${plain(threshold)}"
    return f"{describe_key(key)} has {amounts}: buy more at the provider"


def _describe_step(step: StepResult) -> str:
    outcome = {True: "yes", False: "no", None: "unknown"}[step.passed]
    duration = "" if step.duration_ms is None else f" in {step.duration_ms} ms"
    return f"{_STEPS[step.step]}: {outcome}{duration} ({step.detail})"
