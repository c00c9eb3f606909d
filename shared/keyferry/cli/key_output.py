"""Provider keys and key tests as text."""

from collections.abc import Iterable, Sequence
from decimal import Decimal

from keyferry.cli.key_pauses import Pauses, describe_pauses, name_pause
from keyferry.cli.terminal import format_days, format_table, format_time, format_usd
from keyferry.contracts.key import USABLE, KeyStatus, KeyTest, KeyTestResult, KeyTestStep, ProviderKey, StepResult
from keyferry.contracts.money import describe_sum
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.tenancy import PLATFORM_TENANT, KeyPolicy

_STEPS = {
    KeyTestStep.REACHABLE: "reachable",
    KeyTestStep.ACCEPTED: "accepted",
    KeyTestStep.CREDIT: "has credit",
    KeyTestStep.MODEL: "model or region",
}
_MARKS = {True: "yes", False: "NO", None: "-"}
_RESULTS = {
    KeyTestResult.VALID: "the key works",
    KeyTestResult.DEGRADED: "the provider accepts the key, but it works only in part",
    KeyTestResult.INVALID: "the provider does not accept the key",
    KeyTestResult.INCONCLUSIVE: "the test was inconclusive",
}
_HEADS = (
    "KEY ID",
    "PROVIDER",
    "LABEL",
    "KEY",
    "STATUS",
    "AGE",
    "PRIORITY",
    "WEIGHT",
    "SPENT",
    "CREDIT LEFT",
    "TESTED",
    "LAST USED",
    "EXPIRES",
    "SECRET FROM",
    "PAYS FOR",
)


def format_test(test: KeyTest) -> str:
    """Return the steps of a test with their times, one line each, and the result."""
    rows = [_step_row(step) for step in test.steps]
    left = "" if test.credit_left_usd is None else f"; {format_usd(test.credit_left_usd)} of credit left"
    summary = f"{_RESULTS[test.result]} ({test.result}, {test.duration_ms} ms in all{left})"
    return "\n".join([format_table(("STEP", "PASSED", "TIME", ""), rows, empty="no step was run"), summary])


def format_keys(keys: Sequence[ProviderKey], tenant: str | None, pauses: Pauses = ()) -> str:
    """Return a tenant's keys as a table, or with None those of all tenants, and what is known of their rate limits."""
    if tenant is None:
        rows = [(key.tenant, *_row(key, pauses)) for key in keys]
        table = format_table(("TENANT", *_HEADS), rows, empty="no tenant has such a key")
    else:
        empty = f"{tenant} has no provider keys: `keyferry keys add --tenant {tenant}` adds one"
        table = format_table(_HEADS, [_row(key, pauses) for key in keys], empty=empty)
    return "\n".join([table, *describe_pauses(keys, pauses)])


def format_key(key: ProviderKey) -> str:
    """Return one key as one line."""
    server = key.name or PROVIDERS.describe(key.provider).title
    return f"{key.key_id} ({server}, {key.label}, {key.masked}): {describe_state(key)}"


def warn_unlisted(key: ProviderKey) -> str:
    """Return a warning about models that the key may be used for and its provider does not list."""
    names = ", ".join(key.unlisted_models)
    return (
        f"warning: at its last test the provider did not list {names} for this key: such calls will probably fail"
        f" (`keyferry keys edit {key.key_id} --tenant {key.tenant} --model …` corrects the names)"
    )


def describe_state(key: ProviderKey) -> str:
    """Return the status of a key, and whether it is over its limit or paused by its owner's tier."""
    notes = ", over its limit" * key.over_limit + ", paused by the tier" * key.paused
    return f"{key.status.value}{notes}"


def describe_scope(key: ProviderKey) -> str:
    """Return whose requests a key pays for."""
    if key.team is not None:
        return f"team {key.team}"
    return "all" if key.member is None else f"member {key.member}"


def describe_spending(key: ProviderKey) -> str:
    """Return what a key's calls cost in this calendar month (UTC), with the calls of unknown cost apart."""
    if key.spent_usd is None and not key.unpriced:
        return format_usd(Decimal(0))
    return describe_sum(key.spent_usd, key.unpriced)


def describe_next_payer(
    removed: ProviderKey, policy: KeyPolicy | None, own: Iterable[ProviderKey], platform: Iterable[ProviderKey]
) -> str:
    """Describe which key pays after a key was removed. `policy` is the tenant's `key_policy`."""
    title = PROVIDERS.describe(removed.provider).title
    own_left = _usable(own, removed.provider)
    if removed.tenant == PLATFORM_TENANT:
        return _describe_platform_payer(title, own_left)
    if policy is not KeyPolicy.PLATFORM and own_left:
        return f"{title} requests continue with {removed.tenant}'s own {own_left[0].label} ({own_left[0].masked})"
    if policy is KeyPolicy.OWN:
        return f"{title} requests of {removed.tenant} are refused from now on: its policy allows its own keys only"
    if left := _usable(platform, removed.provider):
        return f"{title} requests of {removed.tenant} are paid for by the platform's key {left[0].label} from now on"
    return f"{title} requests of {removed.tenant} are refused from now on: neither it nor the platform has a usable key"


def _describe_platform_payer(title: str, left: Sequence[ProviderKey]) -> str:
    if left:
        return (
            f"{title} requests of tenants without a key continue with the platform's {left[0].label} ({left[0].masked})"
        )
    return f"{title} requests of tenants without a key of their own are refused from now on"


def _usable(keys: Iterable[ProviderKey], provider: str) -> list[ProviderKey]:
    """Return the keys that can be used now, in order of use: degraded ones last."""
    found = [
        key for key in keys if key.provider == provider and key.status in USABLE and not (key.over_limit or key.paused)
    ]
    return sorted(found, key=lambda key: (key.status is KeyStatus.DEGRADED, key.priority))


def _step_row(step: StepResult) -> tuple[str, str, str, str]:
    took = "-" if step.duration_ms is None else f"{step.duration_ms} ms"
    return _STEPS[step.step], _MARKS[step.passed], took, step.detail


def _row(key: ProviderKey, pauses: Pauses) -> tuple[str, ...]:
    limit = "" if key.monthly_limit_usd is None else f" of {format_usd(key.monthly_limit_usd)}"
    unused = key.spent_usd is None and not key.unpriced
    spent = "-" if unused and not limit else f"{describe_spending(key)}{limit}"
    return (
        key.key_id,
        key.provider if key.name is None else f"{key.provider} ({key.name})",
        key.label,
        key.masked,
        describe_state(key) + name_pause(key, pauses),
        _age(key),
        str(key.priority),
        str(key.weight),
        spent,
        _credit(key),
        format_time(key.last_test.tested_at if key.last_test else None),
        format_time(key.last_used_at),
        format_time(key.expires_at),
        key.rotated_by or key.created_by,
        describe_scope(key),
    )


def _age(key: ProviderKey) -> str:
    age = "-" if key.age_days is None else format_days(key.age_days)
    return f"{age}, rotation due" if key.rotation_due else age


def _credit(key: ProviderKey) -> str:
    left = key.last_test.credit_left_usd if key.last_test else None
    return f"{'-' if left is None else format_usd(left)}{', low' if key.credit_low else ''}"
