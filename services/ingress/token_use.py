"""Which client tokens were accepted: collected in memory, and reported to the tenant directory at most once a minute."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from nats.errors import Error as NatsError

from keyferry.contracts.client_token_use import MAX_REPORTED_USES, ClientTokensUsed, ClientTokenUse
from keyferry.contracts.tenancy import ClientToken
from keyferry.runtime.concurrency import cancel_and_wait

_log = logging.getLogger(__name__)

Publish = Callable[[ClientTokensUsed], Awaitable[None]]


class TokenUses:
    """The last use of each token since the last report. A request costs one entry of a dictionary."""

    def __init__(self, publish: Publish, interval_seconds: float) -> None:
        self._publish = publish
        self._interval_seconds = interval_seconds
        self._used: dict[str, tuple[str, datetime]] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, token: ClientToken, now: datetime) -> None:
        """Note that `token` was accepted."""
        self._used[token.token_id] = (token.tenant, now)

    async def start(self) -> None:
        """Begin to report."""
        self._task = asyncio.create_task(self._report_repeatedly(), name="token uses")

    async def stop(self) -> None:
        """Stop reporting; call `report` before."""
        if self._task is not None:
            await cancel_and_wait(self._task)

    async def report(self) -> None:
        """Report what was used since the last report. What cannot be sent is sent with the next one."""
        used, self._used = self._used, {}
        try:
            uses = [ClientTokenUse(tenant=tenant, token_id=token, used_at=at) for token, (tenant, at) in used.items()]
            for start in range(0, len(uses), MAX_REPORTED_USES):
                await self._publish(ClientTokensUsed(uses=uses[start : start + MAX_REPORTED_USES]))
        except NatsError as error:
            _log.info("the use of client tokens cannot be reported now", extra={"reason": type(error).__name__})
            self._used = used | self._used

    async def _report_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            await self.report()
