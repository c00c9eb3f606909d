"""The whole system with a provider that answers by script, and clients that check every byte: for fault injection."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.clients.stream_clients import PendingRequest, StreamClients, stream_clients
from tests.support.ledger.attempts_table import LedgerTable
from tests.support.providers.scripted_answers import Script, by_script, calls_of
from tests.support.providers.upstream import Call, Upstream, running_upstream
from tests.support.system.keyferry_system import KeyferrySystem, running_system
from tests.support.waiting import until

MODEL = "scripted/m"
"""What clients ask for: the scripted provider."""


@dataclass(frozen=True)
class ScriptedSystem:
    """The running system, its provider and its clients."""

    system: KeyferrySystem
    upstream: Upstream
    clients: StreamClients

    @property
    def ledger(self) -> LedgerTable:
        return LedgerTable(self.system.home)

    def ask(
        self,
        script: Script,
        *,
        stream: bool = True,
        cut_after_bytes: int | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> PendingRequest:
        """Request a script's answer, under its name."""
        return self.clients.ask(
            MODEL,
            script.prompt,
            stream=stream,
            operation=script.name,
            cut_after_bytes=cut_after_bytes,
            receive_buffer_bytes=receive_buffer_bytes,
        )

    def call(self, script: Script) -> Call:
        """Wait for the one call for this script. Return the provider's record of it."""
        (call,) = until(f"the provider gets {script.name}", lambda: calls_of(self.upstream, script.name))
        return call


@contextmanager
def running_scripted_system(home: Path, settings: Mapping[str, str] | None = None) -> Iterator[ScriptedSystem]:
    """Run a system in `home` with these settings, in which `MODEL` is served by the scripted provider."""
    with ExitStack() as stack:
        upstream = stack.enter_context(running_upstream(by_script))
        system = stack.enter_context(running_system(home, settings))
        system.add_endpoint("scripted", upstream.base_url, "m")
        clients = stack.enter_context(stream_clients(system.http_url, system.token))
        yield ScriptedSystem(system, upstream, clients)
