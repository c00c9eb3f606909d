"""Has provider keys tested: a worker calls the provider, since the vault reaches nobody outside.

Where no worker is there, nothing is known about the key, and that is what the test says.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import KeyFacts, KeyTest, KeyTestResult, KeyTestStep, ProviderKey, StepResult
from keyferry.contracts.secret import Secret
from services.key_vault.database.tables import facts_of
from services.key_vault.keys.validation import choose_test_model
from services.key_vault.leases.service import NoWorker

_NO_WORKER = "no provider worker is there to make the test; `keyferry status` shows what runs"


class Prober(Protocol):
    """Whoever has a worker test a key: `delivery.LeaseService`."""

    async def check(
        self, facts: KeyFacts, key: Secret, base_url: str, fields: Mapping[str, str], model: str | None
    ) -> KeyTest:
        """One test. Raises NoWorker."""


class KeyTesting:
    """Tests keys. `clock` gives the time in UTC."""

    def __init__(self, prober: Prober, clock: Callable[[], datetime]) -> None:
        self._prober = prober
        self._clock = clock

    async def run(self, key: ProviderKey, secret: Secret) -> KeyTest:
        """One test of `secret` as the key that `key` describes; inconclusive where no worker can make it."""
        try:
            return await self._prober.check(facts_of(key), secret, key.base_url, key.fields, choose_test_model(key))
        except NoWorker:
            return _not_made(self._clock())


def _not_made(now: datetime) -> KeyTest:
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
