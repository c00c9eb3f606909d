"""A worker without a free place is no provider that asked for a pause."""

from datetime import UTC, datetime, timedelta

import pytest

from keyferry.contracts.chat import FailedAttempt
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.usage import KeySource
from services.router.fallback.cooldowns import Cooldowns

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(("where", "cooldowns"), [(Where.HTTP_STATUS, 1), (Where.GATEWAY, 0)])
def test_only_a_providers_own_pause_is_remembered(where: Where, cooldowns: int) -> None:
    failure = Failure(failure_class=FailureClass.OVERLOADED, message="busy", where=where, retry_after_ms=30_000)
    failed = FailedAttempt(
        attempt_id="att_1",
        provider="openai",
        model="gpt-4o",
        origin="https://api.openai.com",
        key_source=KeySource.PLATFORM,
        failure=failure,
        failed_at_unix_ms=int((NOW - timedelta(seconds=1)).timestamp() * 1000),
    )
    found = Cooldowns()
    found.learn("acme", [failed], NOW)
    assert len(found) == cooldowns
