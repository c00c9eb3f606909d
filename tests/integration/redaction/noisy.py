"""A process that calls providers with a key at the most talkative log level, in ways that go well and badly.

python -m tests.integration.redaction.noisy URL KEY [--plain]

With `--plain` the logs are set up as a program does that thinks nothing of it.
"""

import argparse
import asyncio
import logging
from ipaddress import ip_network

import httpx

from keyferry.contracts.secret import Secret
from keyferry.runtime.process import logs
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient
from keyferry.runtime.upstream.errors import UpstreamError
from keyferry.sealing.leased import LeasedKey
from services.provider_worker.key_test.tester import KeyTester
from tests.integration.provider_worker.key_test.provider import build_command

_log = logging.getLogger("services.noisy")
TIMEOUTS = Timeouts(connect_seconds=10, first_byte_seconds=10, between_bytes_seconds=10)


async def noisy(url: str, key: str) -> None:
    """Everything that a worker does with a key, and what others' clients log of theirs."""
    client = UpstreamClient((ip_network("127.0.0.0/8"),))
    checker = KeyTester(client)
    try:
        for provider in ("openai", "anthropic", "gemini", "azure", "bedrock"):
            leased = LeasedKey(
                owner="acme",
                provider=provider,
                key_id="key_0001",
                version=1,
                origin=url,
                not_after_unix_ms=2**50,
                key=Secret(key),
            )
            check = await checker.check(build_command(provider, f"{url}/{provider}", "m"), leased)
            _log.info("checked", extra={"provider": provider, "check": check, "key": leased})
        for headers in ({"x-api-key": key}, {"x-api-key": f"{key}\r\nx: y"}, {f"x-{key}\n": "y"}):
            try:
                async with client.stream("GET", f"{url}/hangs-up?key={key}", headers, b"", TIMEOUTS):
                    pass
            except UpstreamError:
                _log.exception("a call failed")
        try:
            raise RuntimeError(f"a defect that holds {key}")
        except RuntimeError:
            _log.exception("a defect")
    finally:
        await client.close()
    async with httpx.AsyncClient() as other:
        await other.get(f"{url}/models?key={key}", headers={"x-api-key": key})
    stubborn = logging.getLogger("hpack.hpack")
    stubborn.setLevel(logging.DEBUG)
    stubborn.debug("Adding (b'authorization', b'Bearer %s') to the header table", key)


def main() -> None:
    """Set up logs and go."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    if given.plain:
        logging.basicConfig(level=logging.DEBUG)
    else:
        logs.configure("provider-worker", "DEBUG")
    _log.debug("begun")
    asyncio.run(noisy(given.url, given.key))


if __name__ == "__main__":
    main()
