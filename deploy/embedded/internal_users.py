"""Keeps the users of the embedded NATS server equal to the directory's list of internal services.

The server reads its users from its configuration. A change of the list renders that file again and has the server read it, which
takes effect without a restart; the connections of a user that is gone are closed at once. But the server forgets at that moment
which answers it may let through (`allow_responses`): requests between services that are in progress get none, and are repeated.
"""

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nkeys
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from deploy.embedded.errors import LaunchFailed
from deploy.embedded.home import Home, generate_seed
from deploy.embedded.managed_process import Log
from deploy.nats import user_list
from keyferry.cli.connection import OperatorConnection, operator
from keyferry.cli.installation import Installation
from keyferry.cli.problem import Problem
from keyferry.contracts.internal_services import INTERNAL_SERVICES_CHANGED, InternalService
from keyferry.runtime.bus.requests import BusError, Refused
from keyferry.runtime.bus.servers import connect_once

_log = logging.getLogger(__name__)

_INTERVAL_SECONDS = 5.0
"""Between looks at the list, for a change whose announcement got lost."""
_SETTLE_SECONDS = 0.25
"""From an announcement to the change: the answer to the request that made it is on its way, and a reload forgets who waits."""
_PAUSE_SECONDS = 2.0
"""After a reload, until the next announcement is heeded: a tenant that creates and revokes in a loop must not have the server
forget, many times a second, who waits for an answer."""
_RETRY_SECONDS = 0.5
_RELOAD_SECONDS = 20.0
_POLL_SECONDS = 0.02
_CONNECT_SECONDS = 2


class UsersNotApplied(LaunchFailed):
    """The server still has other users than the directory lists; the message says why and what to do."""


class InternalUsers:
    """The list of one system.

    `write` renders the configuration for these programs' users, with the probe's public key if one is given, and checks it.
    """

    def __init__(
        self,
        home: Home,
        nats_url: str,
        *,
        first_tenant: str,
        users_of: Callable[[list[InternalService]], dict[str, str]],
        write: Callable[[dict[str, str], str | None], Path],
        server_pid: Callable[[], int | None],
        log: Log,
    ) -> None:
        self._copy = home.run / "internal-services.json"
        self._installation = Installation(nats_url, home.seed_file("operator"))
        self._first_tenant = first_tenant
        self._users_of = users_of
        self._write = write
        self._server_pid = server_pid
        self._log = log
        self._changing = asyncio.Lock()
        self.services = user_list.read_copy(self._copy)
        """What the configuration is rendered from."""
        self._applied: dict[str, str] | None = None
        """The users that the server has read."""

    def write_at_start(self) -> Path:
        """Write the configuration for a server that is about to start. Raises NatsUnavailable."""
        users = self._users_of(self.services)
        configuration = self._write(users, None)
        self._applied = users
        return configuration

    async def run(self) -> None:
        """Follow the directory's list for ever."""
        reported = ""
        while True:
            try:
                async with operator(self._installation) as me:
                    changed = asyncio.Event()
                    await self._subscribe(me, changed)
                    while me.client.is_connected:
                        reloaded = await self._apply(me)
                        reported = ""
                        if reloaded:
                            await asyncio.sleep(_PAUSE_SECONDS)
                        with suppress(TimeoutError):
                            await asyncio.wait_for(changed.wait(), _INTERVAL_SECONDS)
                            await asyncio.sleep(_SETTLE_SECONDS)
                        changed.clear()
            except (
                Problem,
                BusError,
                Refused,
                NatsError,
            ) as error:  # a server or the directory is starting or stopping
                _log.debug("the list of internal services cannot be read", extra={"error": str(error)})
            except (LaunchFailed, OSError) as error:
                if str(error) != reported:
                    self._log(f"nats: its users could not be changed: {error}")
                    reported = str(error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def apply(self) -> int:
        """Bring the server up to date now; return the number of internal services. Raises UsersNotApplied."""
        try:
            async with operator(self._installation) as me:
                await self._apply(me)
        except Problem as problem:
            raise UsersNotApplied(f"{problem.what}. {problem.remedy}") from None
        except (BusError, Refused) as error:
            raise UsersNotApplied(f"the list of internal services cannot be read: {error}") from None
        except OSError as error:
            raise UsersNotApplied(f"the configuration of NATS cannot be written: {error.strerror}") from None
        return sum(service.revoked_at is None for service in self.services)

    async def _subscribe(self, me: OperatorConnection, changed: asyncio.Event) -> None:
        async def wake(_: Msg) -> None:
            changed.set()

        await me.client.subscribe(INTERNAL_SERVICES_CHANGED.format(), cb=wake)

    async def _apply(self, me: OperatorConnection) -> bool:
        """Bring the server up to date; return whether it had to read its users again."""
        async with self._changing:
            services = await user_list.fetch(me, self._first_tenant)
            users = self._users_of(services)
            if services != self.services:
                user_list.write_copy(self._copy, services)
                self.services = services  # also for a server that is started meanwhile
            if users == self._applied:
                return False
            probe = generate_seed()
            # Should this fail, nobody knows which users the server has, even if the list is then what it was before.
            self._applied = None
            await asyncio.to_thread(self._write, users, _public(probe))
            await self._reload(probe)
            self._applied = users
            return True

    async def _reload(self, probe: str) -> None:
        """Have the server read its configuration, and wait until it lets the probe in, which only this configuration names."""
        if (pid := self._server_pid()) is None:
            return  # it is down, and starts with this configuration
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGHUP)
        if not await _accepts_within(self._installation.nats_url, probe, _RELOAD_SECONDS):
            raise UsersNotApplied(
                f"NATS has not read its configuration again within {_RELOAD_SECONDS:g} s: see log/nats.log in the home directory"
            )


def _public(seed: str) -> str:
    return str(nkeys.from_seed(bytearray(seed.encode())).public_key.decode())


async def _accepts_within(url: str, seed: str, seconds: float) -> bool:
    """Return whether the server at `url` lets the user of `seed` in, asking it for so many seconds.

    Each attempt ends by itself. nats-py's own repetitions, with a timeout around them, went on for ever now and then: in Python
    3.11 a cancellation is lost if what `asyncio.wait_for` waits for ends in the same moment.
    """

    async def ignore(_: Exception) -> None:
        """Without a callback nats-py would print each refusal of the server."""

    give_up = time.monotonic() + seconds
    while True:
        with suppress(NatsError, OSError, TimeoutError):
            client = await connect_once([url], nkeys_seed_str=seed, connect_timeout=_CONNECT_SECONDS, error_cb=ignore)
            await client.close()
            return True
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(_POLL_SECONDS)
