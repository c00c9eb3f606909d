"""A bus whose services answer by script; tests/integration/console/test_parity.py compares it with the real one."""

from collections.abc import Callable
from dataclasses import dataclass, field

from keyferry.contracts.channels import Q, R
from keyferry.contracts.envelope import Message
from keyferry.contracts.service import Refusal
from keyferry.contracts.topology import AnySubject, Subject
from keyferry.runtime.bus.requests import BusError, Refused

Owner = Callable[[Message], Message | Refusal]


@dataclass
class ScriptedBus:
    """`owners` answer by subject name; a subject without one is answered by nobody."""

    owners: dict[str, Owner] = field(default_factory=dict)
    asked: list[tuple[str, Message]] = field(default_factory=list)
    """Subject name and question, as the owner reads it."""

    def answers(self, subject: AnySubject, answer: Message | Refusal | Owner) -> None:
        """Answer `subject` so from now on."""
        self.owners[subject.name] = answer if callable(answer) else lambda _: answer

    async def ask(self, subject: Subject[Q, R], question: Q, *, timeout_seconds: float) -> R:
        """Ask as `Bus.ask` does."""
        owner = self.owners.get(subject.name)
        if owner is None:
            raise BusError(
                f"nobody answers {subject.name}: is {subject.subscribers[0]} running? `keyferry doctor` shows the cause"
            )
        # Over the wire and back: what cannot be written or read is found here too.
        read = subject.message.model_validate_json(question.encode())
        assert isinstance(read, Message)
        self.asked.append((subject.name, read))
        reply = owner(read)
        if isinstance(reply, Refusal):
            raise Refused(reply.code, reply.message)
        return subject.decode_reply(reply.encode())
