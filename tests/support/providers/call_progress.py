"""The progress of a provider's call that is made without an attempt."""

from services.provider_worker.frame_writer import FrameWriter
from services.provider_worker.provider_call import Phase


class CallProgress:
    """Writes what a call delivers to `frames`, and keeps the phases it reported."""

    def __init__(self, frames: FrameWriter) -> None:
        self.frames = frames
        self.phases: list[Phase] = []

    def enter(self, phase: Phase) -> None:
        """Keep a phase."""
        self.phases.append(phase)

    async def deliver(self, texts: list[bytes]) -> None:
        """Write chunk texts."""
        if texts:
            await self.frames.write_deltas(texts)
