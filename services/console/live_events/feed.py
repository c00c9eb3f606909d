"""What one stream still has to send: a bounded queue. Pure."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from services.console.live_events.bodies import ClosingReason
from services.console.live_events.changes import LiveChange
from services.console.live_events.topics import Audience

MAX_CHANGES = 256
MAX_BYTES = 2 * 1024 * 1024
"""Of the JSON of one queue. It is shared by all queues that wait with the same change."""


@dataclass(frozen=True, slots=True)
class QueuedChange:
    """A change and its JSON."""

    change: LiveChange
    text: str


@dataclass(slots=True, eq=False)
class Feed:
    """The queue of one stream; `on_news` is called when there is something to do."""

    audience: Audience
    session: str
    """What counts as one session."""
    on_news: Callable[[], None] = lambda: None
    behind: bool = False
    """Whether messages were missed, so that the log has to be read."""
    overflowed: bool = False
    closing: ClosingReason | None = None
    _queue: deque[QueuedChange] = field(default_factory=deque)
    _bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def offer(self, change: LiveChange) -> None:
        """Add a change if it is for the audience. A full queue is emptied: its reader has to load everything again."""
        if self.overflowed or not change.is_for(self.audience):
            return
        text = change.render(self.audience)
        self._queue.append(QueuedChange(change, text))
        self._bytes += len(text)
        if len(self._queue) > MAX_CHANGES or self._bytes > MAX_BYTES:
            self.overflowed = True
            self._queue.clear()
            self._bytes = 0
        self.on_news()

    def pop(self) -> QueuedChange:
        """Return the oldest change. Raises IndexError if there is none."""
        queued = self._queue.popleft()
        self._bytes -= len(queued.text)
        return queued

    def fall_behind(self) -> None:
        """Note that messages were missed."""
        self.behind = True
        self.on_news()

    def close(self, reason: ClosingReason) -> None:
        """End the stream soon."""
        self.closing = self.closing or reason
        self.on_news()
