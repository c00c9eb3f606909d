"""Answers designed to exhaust memory: each ends with an error, and the worker's process hardly grows.

Measured in a process of its own for each answer. Without the defences the same answers take more than they may.
"""

import asyncio
import functools
import json
import re
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator

import pytest

from tests.integration.provider_worker.bombs.one_call import Measured
from tests.support.providers.raw_http_server import Behaviour, Call, answers, raw_http_server, reply

MAX_GROWTH_BYTES = 24 * 1024 * 1024
PLAIN_BYTES = 256 * 1024 * 1024
JSON = "content-type: application/json"
EVENTS = "content-type: text/event-stream"
GZIP, ZLIB, RAW = 31, 15, -15


@functools.cache
def bomb(window: int, plain_bytes: int = PLAIN_BYTES) -> bytes:
    """Compressed spaces inside what begins as a JSON object: a thousand times smaller than what comes out."""
    machine = zlib.compressobj(9, zlib.DEFLATED, window)
    parts = [machine.compress(b'{"choices":[')]
    piece = b" " * 2**20
    parts += [machine.compress(piece) for _ in range(plain_bytes // len(piece))]
    return b"".join([*parts, machine.flush()])


def compressed(coding: str, window: int, kind: str = JSON) -> Behaviour:
    body = bomb(window)
    assert len(body) * 900 < PLAIN_BYTES
    return answers(reply(body, kind, f"content-encoding: {coding}"))


def endless(pieces: Iterator[bytes], kind: str = EVENTS) -> Behaviour:
    """An answer without an end."""

    async def behave(call: Call) -> None:
        await call.send(f"HTTP/1.1 200 OK\r\n{kind}\r\nconnection: close\r\n\r\n".encode())
        for piece in pieces:
            await call.send(piece)

    return behave


def forever(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


def heads(count: int, size_bytes: int) -> Behaviour:
    """Far too many header fields."""

    async def behave(call: Call) -> None:
        await call.send(b"HTTP/1.1 200 OK\r\n")
        for number in range(count):
            await call.send(f"x-{number}: ".encode() + b"y" * size_bytes + b"\r\n")
        await call.send(b"content-length: 2\r\n\r\n{}")

    return behave


def headed(body: bytes, *headers: str) -> Behaviour:
    return answers(reply(body, *headers))


_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
_DELTA = {"choices": [{"index": 0, "delta": {"content": "word " * 200}, "finish_reason": None}]}
EVENT = b"data: " + json.dumps(_CHUNK | _DELTA).encode() + b"\n\n"
DEEP = b'{"choices":' + b'[{"a":' * 100_000
WIDE = b'{"choices":[' + b"{}," * (8 * 2**20 // 3) + b"{}]}"


def members() -> bytes:
    return b'{"choices":[],' + b",".join(b'"%d":0' % number for number in range(800_000)) + b"}"


INFLATED = "inflates to more than 200 times|is larger than"
"""Which of the limits is reached first depends on how much of the bomb arrives at once."""

BOMBS: dict[str, tuple[Callable[[], Behaviour], bool, str, str]] = {
    "gzip": (lambda: compressed("gzip", GZIP), False, "IncompleteResponse", INFLATED),
    "x-gzip stream": (
        lambda: compressed("x-gzip", GZIP, EVENTS),
        True,
        "IncompleteResponse",
        INFLATED,
    ),
    "deflate": (lambda: compressed("deflate", ZLIB), False, "IncompleteResponse", INFLATED),
    "raw deflate": (lambda: compressed("deflate", RAW), False, "IncompleteResponse", INFLATED),
    "brotli": (lambda: headed(bomb(RAW), JSON, "content-encoding: br"), False, "IncompleteResponse", "not asked for"),
    "zstd": (lambda: headed(bomb(RAW), JSON, "content-encoding: zstd"), False, "IncompleteResponse", "not asked for"),
    "twice": (
        lambda: headed(bomb(GZIP), JSON, "content-encoding: gzip, gzip"),
        False,
        "IncompleteResponse",
        "not asked for",
    ),
    "endless events": (lambda: endless(forever(EVENT * 16)), True, "IncompleteResponse", "larger than"),
    "endless comments": (lambda: endless(forever(b": still here\n" * 1000)), True, "IncompleteResponse", "larger than"),
    "one endless event": (lambda: endless(forever(b"data: " + b"x" * 65536)), True, "server", ""),
    "endless document": (
        lambda: endless(forever(b'{"a":1},' * 8192), JSON),
        False,
        "IncompleteResponse",
        "larger than",
    ),
    "depth": (lambda: headed(DEEP, JSON), False, "truncated", ""),
    "depth in an event": (lambda: headed(b"data: " + DEEP + b"\n\ndata: [DONE]\n\n", EVENTS), True, "server", ""),
    "width": (lambda: headed(WIDE, JSON), False, "truncated", ""),
    "members": (lambda: headed(members(), JSON), False, "truncated", ""),
    "many headers": (lambda: heads(100_000, 64), False, "NoResponse", "head is too large"),
    "large headers": (lambda: heads(64, 9 * 1024), False, "NoResponse", "head is too large"),
    "one header": (lambda: heads(1, 64 * 1024 * 1024), False, "NoResponse", "head is too large"),
}
"""Name -> the answer, made only when its test runs; whether it is streamed; outcome and detail of its call."""


@pytest.fixture(scope="module")
def caller() -> "Iterator[subprocess.Popen[str]]":
    """A process that forks a child for each call."""
    argv = [sys.executable, "-m", "tests.integration.provider_worker.bombs.one_call"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def taken(caller: "subprocess.Popen[str]", behave: Behaviour, *flags: str) -> Measured:
    """What a child process reports of its call to a listener with this behaviour."""

    async def warm_first(call: Call) -> None:
        await (answers(reply(b"{}", JSON))(call) if "/warm/" in call.request.line else behave(call))

    async with raw_http_server(warm_first) as double:
        return Measured(**json.loads(await asyncio.to_thread(_reply_line, caller, [double.url("/v1"), *flags])))


def _reply_line(caller: "subprocess.Popen[str]", arguments: list[str]) -> str:
    """The line that replies to these arguments."""
    assert caller.stdin is not None
    assert caller.stdout is not None
    caller.stdin.write(json.dumps(arguments) + "\n")
    caller.stdin.flush()
    return caller.stdout.readline()


@pytest.mark.parametrize("name", BOMBS)
async def test_a_bomb_is_an_error_and_takes_little_memory(caller: "subprocess.Popen[str]", name: str) -> None:
    make_behaviour, stream, outcome, detail = BOMBS[name]
    found = await taken(caller, make_behaviour(), *(["--stream"] if stream else []))
    assert found.outcome == outcome, found
    assert re.search(detail, found.detail)
    assert found.growth_bytes <= MAX_GROWTH_BYTES, found


@pytest.mark.parametrize("name", ["gzip", "deflate", "width", "members"])
async def test_without_the_defence_the_same_answer_fills_memory(caller: "subprocess.Popen[str]", name: str) -> None:
    found = await taken(caller, BOMBS[name][0](), "--undefended")
    assert found.growth_bytes > MAX_GROWTH_BYTES, found


async def test_a_large_legitimate_answer_is_accepted(caller: "subprocess.Popen[str]") -> None:
    """Seven headers of almost the largest size, and a body of a mebibyte that is compressed well."""
    text = json.dumps({"choices": [{"message": {"content": "well " * 200_000}, "finish_reason": "stop"}]}).encode()
    machine = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    body = machine.compress(text) + machine.flush()
    headers = [f"x-{number}: {'y' * 8000}" for number in range(7)]
    found = await taken(caller, headed(body, JSON, "content-encoding: gzip", *headers))
    assert (found.outcome, found.read_bytes) == ("whole", len(text))
