"""The record of operators' access, for tests of the console without a tenant directory."""

from keyferry.contracts.access_management import AccessRecorded, RecordAccess
from keyferry.contracts.channels import Q, R
from keyferry.contracts.topology import Subject
from services.console.service_client import Ask


class RecordingAsk:
    """Asks over a bus, and answers for the directory that an access is recorded."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    async def __call__(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        """Ask as `Bus.ask` does."""
        if isinstance(question, RecordAccess):
            return subject.decode_reply(AccessRecorded().encode())
        return await self._ask(subject, question, timeout_seconds=timeout_seconds)
