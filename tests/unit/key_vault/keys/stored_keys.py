"""Provider keys as the store holds them, for tests that need one."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyStatus, KeyTest, KeyTestResult, KeyTestStep, ProviderKey, StepResult

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)


def check(
    result: KeyTestResult = KeyTestResult.VALID, failure: FailureClass | None = None, at: datetime = NOW
) -> KeyTest:
    steps = [
        StepResult(step=KeyTestStep.REACHABLE, passed=True, duration_ms=12, detail="the provider answers"),
        StepResult(step=KeyTestStep.ACCEPTED, passed=failure is None, duration_ms=34, detail="scripted"),
    ]
    return KeyTest(result=result, failure_class=failure, steps=steps, duration_ms=46, tested_at=at)


def key(
    *,
    key_id: str = "key_1abc",
    tenant: str = "acme",
    provider: str = "openai",
    label: str = "main",
    status: KeyStatus = KeyStatus.VALID,
    last: KeyTest | None = None,
    expires_at: datetime | None = None,
    next_test_at: datetime | None = None,
    over_limit: bool = False,
    priority: int = 100,
    weight: int = 1,
    allowed_models: list[str] | None = None,
    monthly_limit_usd: Decimal | None = None,
    spent_usd: Decimal | None = None,
    revert_until: datetime | None = None,
) -> ProviderKey:
    return ProviderKey(
        key_id=key_id,
        tenant=tenant,
        provider=provider,
        label=label,
        status=status,
        version=1,
        origin="https://api.openai.com",
        base_url="https://api.openai.com/v1",
        masked="sk-…A9f2",
        fingerprint="0" * 16,
        created_at=NOW - timedelta(days=30),
        created_by="operator",
        last_test=last,
        expires_at=expires_at,
        next_test_at=next_test_at,
        over_limit=over_limit,
        priority=priority,
        weight=weight,
        allowed_models=allowed_models,
        monthly_limit_usd=monthly_limit_usd,
        spent_usd=spent_usd,
        revert_until=revert_until,
    )
