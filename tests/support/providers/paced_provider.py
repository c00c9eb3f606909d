"""A provider in a process of its own that streams words to thousands of clients at a steady pace, as cheaply as possible.

    python -m tests.support.providers.paced_provider WORDS WORDS_PER_SECOND     prints its port

Every answer is the same text, so a comparison shows whether it is complete. Streams are served in turns: each turn writes
one word to a part of them, so that the load is even and not a burst at each word.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.providers.upstream import chunk, event, usage
from tests.support.repository.files import ROOT

_TURNS = 20
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def words_of(count: int) -> list[str]:
    """Return the answer's words."""
    return [f"word-{number} " for number in range(count)]


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _script(word_count: int) -> list[bytes]:
    final = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    events = [_chunked(chunk({"role": "assistant", "content": word})) for word in words_of(word_count)]
    end = [chunk({}, "stop"), event(final | {"usage": usage(3, word_count)}), b"data: [DONE]\n\n"]
    return [*events, b"".join(map(_chunked, end)) + b"0\r\n\r\n"]


class _Stream(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, turns: list[set["_Stream"]]) -> None:
        self._turns = turns
        self._turn = turns[0]
        self._data = b""
        self.said = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, blank, body = self._data.partition(b"\r\n\r\n")
        length = (
            next(int(h[15:]) for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")) if blank else 0
        )
        if not blank or len(body) < length:
            return
        json.loads(body)
        self._data = b""
        self.said = 0
        assert self.transport is not None
        self.transport.write(_HEAD)
        self._turn = min(self._turns, key=len)
        self._turn.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._turn.discard(self)


async def _serve(word_count: int, words_per_second: float) -> None:
    script = _script(word_count)
    turns: list[set[_Stream]] = [set() for _ in range(_TURNS)]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Stream(turns), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    next_turn = loop.time()
    while True:
        for streams in turns:
            for stream in list(streams):
                assert stream.transport is not None
                stream.transport.write(script[stream.said])
                stream.said += 1
                if stream.said == len(script):
                    streams.discard(stream)
            next_turn = max(next_turn + 1 / words_per_second / _TURNS, loop.time() - 1)
            await asyncio.sleep(max(0.0, next_turn - loop.time()))


@dataclass(frozen=True)
class PacedProvider:
    """The running provider."""

    base_url: str
    text: str


@contextmanager
def paced_provider(word_count: int, words_per_second: float) -> Iterator[PacedProvider]:
    """Run it until the block ends."""
    command = [sys.executable, "-m", "tests.support.providers.paced_provider", str(word_count), str(words_per_second)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield PacedProvider(f"http://127.0.0.1:{port}/v1", "".join(words_of(word_count)))
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2])))
