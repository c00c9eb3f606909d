"""What a tenant is told about its keys. No word of it repeats a key."""

from collections.abc import Iterable
from decimal import Decimal

from keyferry.contracts.key import KeyStatus, KeyTest, KeyTestStep, ProviderKey, StepResult
from keyferry.contracts.money import plain
from keyferry.contracts.providers import PROVIDERS

_STATUS = {
    KeyStatus.UNTESTED: "it is not tested: nobody knows yet whether the provider accepts it",
    KeyStatus.VALID: "it works",
    KeyStatus.DEGRADED: "the provider accepts it, but it falls short",
    KeyStatus.INVALID: "the provider does not accept it",
    KeyStatus.EXPIRED: "its date has passed",
    KeyStatus.DISABLED: "it is switched off",
    KeyStatus.UNDECRYPTABLE: "the vault cannot open its record: the KEK is missing or the record was changed",
}
_STEPS = {
    KeyTestStep.REACHABLE: "reachable",
    KeyTestStep.ACCEPTED: "accepted",
    KeyTestStep.CREDIT: "has credit",
    KeyTestStep.MODEL: "model or region allowed",
}


def named(key: ProviderKey) -> str:
    """A key as people call it: its provider, label and masked form."""
    return f"{PROVIDERS[key.provider].title} key {key.label} ({key.masked})"


def describe_steps(steps: Iterable[StepResult]) -> str:
    """The steps of a test on one line, each with how it went and how long it took."""
    return "; ".join(_step(step) for step in steps) or "no step was reached"


def failing_step(check: KeyTest) -> StepResult | None:
    """The first step that did not pass."""
    return next((step for step in check.steps if step.passed is False), None)


def tested(key: ProviderKey, check: KeyTest) -> str:
    """What a test found, and what the key is now."""
    failed = failing_step(check)
    because = f" ({_STEPS[failed.step]}: {failed.detail})" if failed else ""
    return f"{named(key)} was tested: {check.result}{because}; {_STATUS[key.status]}"


def became(key: ProviderKey, what: str) -> str:
    """What happened to a key, and what it is now."""
    return f"{named(key)} {what}; {_STATUS[key.status]}"


def over_limit(key: ProviderKey) -> str:
    """A monthly limit that is spent."""
    limit, spent = key.monthly_limit_usd, key.spent_usd
    figures = "" if limit is None or spent is None else f": ${plain(spent)} of ${plain(limit)}"
    return f"{named(key)} has reached its monthly limit{figures}; it is not used until the month ends or the limit is raised"


def within_limit(key: ProviderKey) -> str:
    """A key that may be used again."""
    return f"{named(key)} is within its monthly limit again"


def rotation_due(key: ProviderKey, age_days: int) -> str:
    """A secret that is older than the operator wants."""
    return (
        f"{named(key)} is {age_days} days old: make a new one at the provider and put it in its place"
        f" (`keyferry keys rotate {key.key_id} --tenant {key.tenant}`)"
    )


def credit_low(key: ProviderKey, left: Decimal, threshold: Decimal) -> str:
    """Credit that runs out."""
    return f"{named(key)} has ${plain(left)} of credit left, which is less than ${plain(threshold)}: buy more at the provider"


def _step(step: StepResult) -> str:
    how = {True: "yes", False: "no", None: "not known"}[step.passed]
    took = "" if step.duration_ms is None else f" in {step.duration_ms} ms"
    return f"{_STEPS[step.step]}: {how}{took} ({step.detail})"
