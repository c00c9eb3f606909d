"""Tests provider keys through a worker, because the vault connects to nothing outside.

Without a worker nothing is known about the key, and the test is inconclusive.
"""

from collections.abc import Callable
from datetime import datetime

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyTest, KeyTestResult, KeyTestStep, ProviderKey, StepResult
from keyferry.contracts.secret import Secret
from services.key_vault.database.tables import key_facts
from services.key_vault.keys.validation import choose_test_model, warn_of_format
from services.key_vault.leases.service import LeaseService, NoWorker

_NO_WORKER = "no provider worker is available for the test; `keyferry status` shows what runs"


class KeyTesting:
    """Tests keys. `clock` returns the time in UTC."""

    def __init__(self, leases: LeaseService, clock: Callable[[], datetime]) -> None:
        self._leases = leases
        self._clock = clock

    async def run(self, key: ProviderKey, secret: Secret) -> KeyTest:
        """Test `secret` as the key that `key` describes; inconclusive where no worker is available."""
        try:
            test = await self._leases.test_key(key_facts(key), secret, key.base_url, key.fields, choose_test_model(key))
        except NoWorker:
            test = _inconclusive(self._clock())
        return test.model_copy(update={"format_warning": warn_of_format(key.provider, secret)})


def _inconclusive(now: datetime) -> KeyTest:
    first, *others = KeyTestStep
    steps = [
        StepResult(step=first, detail=_NO_WORKER),
        *(StepResult(step=step, detail="not reached") for step in others),
    ]
    return KeyTest(
        result=KeyTestResult.INCONCLUSIVE,
        steps=steps,
        failure_class=FailureClass.UNAVAILABLE,
        duration_ms=0,
        tested_at=now,
    )
