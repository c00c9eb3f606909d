"""Has provider keys tested: a worker calls the provider, since the vault reaches nobody outside.

Where no worker is there, nothing is known about the key, and that is what the test says.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from keyferry.contracts.failure import FailureClass
from keyferry.contracts.key import CheckStep, KeyCheck, KeyFacts, ProviderKey, StepResult, Verdict
from keyferry.contracts.secret import Secret
from services.key_vault.delivery import NoWorker
from services.key_vault.intake import model_to_test
from services.key_vault.tables import facts_of

_NO_WORKER = "no provider worker is there to make the test; `keyferry status` shows what runs"


class Prober(Protocol):
    """Whoever has a worker test a key: `delivery.Delivery`."""

    async def check(
        self, facts: KeyFacts, key: Secret, base_url: str, fields: Mapping[str, str], model: str | None
    ) -> KeyCheck:
        """One test. Raises NoWorker."""


class Checks:
    """Tests keys. `clock` gives the time in UTC."""

    def __init__(self, prober: Prober, clock: Callable[[], datetime]) -> None:
        self._prober = prober
        self._clock = clock

    async def run(self, key: ProviderKey, secret: Secret) -> KeyCheck:
        """One test of `secret` as the key that `key` describes; inconclusive where no worker can make it."""
        try:
            return await self._prober.check(facts_of(key), secret, key.base_url, key.fields, model_to_test(key))
        except NoWorker:
            return _not_made(self._clock())


def _not_made(now: datetime) -> KeyCheck:
    first, *others = CheckStep
    steps = [StepResult(step=first, words=_NO_WORKER), *(StepResult(step=step, words="not reached") for step in others)]
    return KeyCheck(
        verdict=Verdict.INCONCLUSIVE,
        steps=steps,
        failure_class=FailureClass.UNAVAILABLE,
        duration_ms=0,
        checked_at=now,
    )
