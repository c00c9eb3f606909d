"""What is fuzzed: functions of bytes that raise only for a defect, and inputs to begin with."""

import asyncio
import csv
import io
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from uvicorn.server import ServerState

from keyferry.cli.rule_file import InvalidRuleFile, parse_rules
from keyferry.contracts import client_token, frames
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.csv_text import csv_text
from keyferry.contracts.envelope import MalformedMessage
from keyferry.contracts.secret import Secret
from keyferry.contracts.text import is_safe
from keyferry.runtime.http.connection import ClientConnection, GuardedConfig
from keyferry.runtime.http.credential import KEY_HEADERS, ConflictingCredentials, read_credential
from keyferry.runtime.http.limits import ConnectionCount, ConnectionLimits
from keyferry.runtime.http.openai_body import read_chat, read_embedding
from keyferry.runtime.http.problem import HttpProblem
from services.console.bodies import exceeds_depth
from services.console.validation import check_query
from services.ingress import request_headers
from services.ingress.identity import Unauthenticated, identify
from services.provider_worker.adapters.registry import ADAPTERS
from tests.support.providers.attempt_runs import attempt_run

_NOW = datetime(2026, 11, 30, tzinfo=UTC)
_BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": %s}'
_PROVIDERS = ("openai", "anthropic", "gemini", "cohere", "bedrock")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MOST_PIECES = 64


@dataclass(frozen=True, slots=True)
class Target:
    """A parser under test. `run` raises only for a defect; `seeds` are inputs that it accepts, or nearly."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = ()


def _read_chat(data: bytes) -> None:
    try:
        parsed = read_chat(data)
    except HttpProblem:
        return
    assert json.loads(data)["model"] == parsed.model


def _read_embedding(data: bytes) -> None:
    try:
        parsed = read_embedding(data)
    except HttpProblem:
        return
    assert json.loads(data)["model"] == parsed.model


class _Transport(asyncio.Transport):
    """A client's connection that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += data

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("203.0.113.7", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True

    def abort(self) -> None:
        self._closing = True

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Ignore it: the input is given all the same."""

    def resume_reading(self) -> None:
        """Ignore it."""


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _converse(data: bytes) -> None:
    config = GuardedConfig(_answer, lifespan="off", log_config=None)
    config.load()
    config.limits = ConnectionLimits(head_bytes=4096)
    config.count, config.guarded = ConnectionCount(config.limits), set()
    connection, transport = ClientConnection(config, ServerState(), {}), _Transport()
    connection.connection_made(transport)
    step = max(1, len(data) // _MOST_PIECES)
    for start in range(0, len(data), step):
        if transport.is_closing():
            break
        connection.data_received(data[start : start + step])
        await asyncio.sleep(0)
    connection.connection_lost(None)
    assert not transport.sent or transport.sent.startswith(b"HTTP/1.1 ")
    assert config.count.open == 0


def _read_head(data: bytes) -> None:
    """Give bytes to a connection of the HTTP server, cut into pieces."""
    asyncio.run(_converse(data))


def _read_credential(data: bytes) -> None:
    lines = [line.partition(b":") for line in data.split(b"\n")]
    scope = {"headers": [(name.strip().lower(), value) for name, _, value in lines]}
    try:
        credential = read_credential(scope, KEY_HEADERS)
        identify(credential, tokens=lambda _: None, tenants=lambda _: None, pepper=Secret("pepper"), now=_NOW)
    except (ConflictingCredentials, Unauthenticated):
        return
    raise AssertionError("a credential that nobody registered was accepted")


def _read_request_headers(data: bytes) -> None:
    text = data.decode("latin-1")
    for parse in (
        request_headers.parse_operation,
        request_headers.parse_tags,
        request_headers.parse_key_preference,
        request_headers.parse_explain,
        request_headers.parse_power_level,
        request_headers.parse_conversation,
    ):
        with suppress(HttpProblem):
            parsed = parse(text)
            for each in parsed.items() if isinstance(parsed, dict) else ():
                assert is_safe(each[0])
                assert is_safe(each[1])


def _read_answers(provider: str, stream: bool) -> Callable[[bytes], None]:
    adapter, run = (
        ADAPTERS[provider],
        attempt_run(provider=provider, stream=stream, key_fields={"region": "eu-central-1"}, base_url=None),
    )
    request = adapter.request(run, _BODY % (b"true" if stream else b"false"))

    def read(data: bytes) -> None:
        """Read an answer as a whole and in pieces: neither raises, and both have the same end."""
        answers = []
        for pieces in ([data], [data[start : start + 7] for start in range(0, len(data), 7)]):
            reader = adapter.reader(run, request, 200, {})
            chunks = [chunk for piece in pieces for chunk in reader.feed(piece)]
            assert all(b"\n" not in chunk and isinstance(json.loads(chunk), dict) for chunk in chunks)
            answers.append(reader.close())
        whole, cut = answers
        assert (whole.failure is None) == (cut.failure is None)

    return read


def _read_rules(data: bytes) -> None:
    with suppress(InvalidRuleFile):
        parse_rules(data)


def _write_csv(data: bytes) -> None:
    values = data.decode("utf-8", "replace").split("\x00")
    [row] = list(csv.reader(io.StringIO(csv_text([values]), newline=""))) or [[]]
    assert len(row) == max(1, len(values)) or row == []
    assert not [value for value in row if value.startswith(_FORMULA)]


def _read_messages(data: bytes) -> None:
    for read in (frames.decode, ChatRequest.split):
        with suppress(MalformedMessage):
            read(data)


def _read_query(data: bytes) -> None:
    with suppress(HttpProblem):
        check_query(data, ("since", "until", "tag"), frozenset({"tag"}))
    exceeds_depth(data, 16)
    with suppress(UnicodeDecodeError):
        client_token.is_well_formed(data.decode())


_SSE = (
    b'data: {"id":"c","object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
)
_SEEDS: Mapping[tuple[str, bool], tuple[bytes, ...]] = {
    ("openai", True): (_SSE + b"data: [DONE]\n\n",),
    ("anthropic", True): (
        b'data: {"type":"message_start","message":{"id":"m","model":"m","usage":{"input_tokens":1}}}\n\n',
        b'data: {"type":"message_stop"}\n\n',
    ),
    ("gemini", True): (b'data: {"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}\r\n\r\n',),
    ("cohere", True): (
        b'event: content-delta\ndata: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"a"}}}}\n\n',
    ),
    ("bedrock", True): (b"\x00\x00\x00\x10\x00\x00\x00\x00\x05\xc2\x48\xeb\x7d\x98\xc8\xff",),
}
_ANSWER = (
    b'{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"a"}}]}',
)

TARGETS: Mapping[str, Target] = {
    "chat": Target(_read_chat, (_BODY % b"true", b'{"model":"m","model":"n"}', b'{"model":"m","messages":[1e999]}')),
    "embedding": Target(_read_embedding, (b'{"model":"m","input":["a",[1,2]]}', b'{"model":"m","input":""}')),
    "head": Target(
        _read_head,
        (
            b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nT: v\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\nUpgrade: h2c\r\n\r\nabcGET",
        ),
    ),
    "credential": Target(
        _read_credential, (b"authorization: Bearer kf_live_0", b"x-api-key: a\napi-key: b", b"Authorization:bearer  x")
    ),
    "request-headers": Target(_read_request_headers, (b"search", b"team=blue, x=\xc3\xa9", b"only", b"eco")),
    **{
        f"{provider}-{'stream' if stream else 'whole'}": Target(
            _read_answers(provider, stream), _SEEDS.get((provider, stream), _ANSWER)
        )
        for provider in _PROVIDERS
        for stream in (True, False)
    },
    "rules": Target(
        _read_rules,
        (
            b"rules:\n- name: a\n  when: {operation: search}\n  use: [{model: m}]\n",
            b"rules: []",
            b"a: &a [*a]",
            b"? : -",
        ),
    ),
    "csv": Target(_write_csv, (b'a\x00=1+1\x00"x"\x00\r\n-', b" =x\x00;")),
    "messages": Target(
        _read_messages, (b"Datt_1 1\nx", b'A{"attempt_id":"a"}\n', b'E{"outcome":"completed"}\n', b"R{}\n")
    ),
    "query": Target(_read_query, (b"since=2026-01-01&tag=a%3Db&tag=%FF", b'{"a":["\\""]}', b"kf_live_")),
}
