"""At the most talkative level a worker's log holds no key, whatever happens to its calls; a plain log holds it many times."""

import asyncio
import sys

import pytest

from tests.integration.provider_worker.key_test.provider import json_reply
from tests.support.canary.searcher import Canary, CapturedOutput, Searcher
from tests.support.providers.raw_http_server import Call, raw_http_server

KEY = "sk-canary-Zq8Xw2Lr6Tn0Vb4KdYm3Pc5Hs7"
SEARCHER = Searcher([Canary("the key", KEY, public_prefix="sk-canary-")])


async def emitted(*flags: str) -> bytes:
    """What a process writes that calls a provider which repeats the key, fails, and hangs up."""

    async def behave(call: Call) -> None:
        if "hangs-up" in call.request.line:
            call.reset()
        else:
            await call.send(json_reply(f'{{"error":{{"message":"Incorrect API key: {KEY}"}}}}', "401 Unauthorized"))

    async with raw_http_server(behave) as double:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.redaction.noisy",
            double.url(""),
            KEY,
            *flags,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode == 0, out.decode()
        assert any(KEY in str(request) for request in double.requests), "the key was used"
    return out


async def test_a_log_holds_no_key() -> None:
    out = await emitted()
    assert SEARCHER.sightings([CapturedOutput("log", "stderr", out)]) == []
    for detail in (b'"begun"', b'"checked"', b'"a call failed"', b'"a defect"', b'"RuntimeError"'):
        assert detail in out, "our own lines of every level are there"


@pytest.mark.parametrize("detail", [b"HTTP Request: GET", b"a defect that holds", b"Adding (b'authorization'"])
async def test_a_plain_log_holds_it(detail: bytes) -> None:
    """The negative case: what the log's set-up keeps out."""
    lines = [line for line in (await emitted("--plain")).splitlines() if detail in line]
    assert SEARCHER.sightings([CapturedOutput("log", "stderr", b"\n".join(lines))])
