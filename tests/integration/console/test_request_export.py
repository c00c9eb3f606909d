"""Exports over a real connection: a consumer that stops ends the reading, and an error in the middle ends the connection."""

import asyncio
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.ledger_management import REQUEST_LIST
from keyferry.contracts.request_cursor import ATTEMPT, Position, RequestCursor, encode_cursor
from keyferry.contracts.request_log import ListRequests, RequestPage
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.topology import Role
from keyferry.runtime.bus.requests import Refused
from keyferry.sealing.private_keys import public_key_text
from tests.integration.cli.answering import owner
from tests.integration.console.console import console
from tests.support.servers.provisioned_bus import provisioned_bus
from tests.support.waiting import eventually
from tests.unit.console.surface import NOW
from tests.unit.console.test_requests import logged

EXPORT = "/api/v1/requests/export?format="


async def test_consumers_that_stop_and_errors_in_the_middle(tmp_path: Path) -> None:
    asked: list[ListRequests] = []
    fails_at: list[int] = []
    rows = [logged(number, error="x" * 400) for number in range(200)]

    async def answer(command: ListRequests) -> RequestPage:
        asked.append(command)
        if len(asked) in fails_at:
            raise Refused(ErrorCode.INTERNAL, "the ledger failed")
        after = encode_cursor(RequestCursor(NOW, Position(NOW, ATTEMPT, f"att_{len(asked)}")), command)
        return RequestPage(requests=rows, next=after, as_of=NOW)

    async with (
        provisioned_bus(tmp_path) as bus,
        console(bus, tmp_path, public_key_text(X25519PrivateKey.generate())) as face,
        owner(bus, Role.USAGE_LEDGER, REQUEST_LIST, answer),
    ):
        async with face.client.stream("GET", f"{EXPORT}csv") as response:
            received = 0
            async for chunk in response.aiter_bytes():
                received += len(chunk)
                if received > 500_000:
                    break
        # The consumer is gone: the pages, of which there is no end, are read no longer.
        before = -1

        async def stands_still() -> bool:
            nonlocal before
            now, before = before, len(asked)
            await asyncio.sleep(0.2)
            return now == len(asked)

        async with asyncio.timeout(20):
            while not await stands_still():
                pass

        fails_at.append(len(asked) + 3)
        with pytest.raises(httpx.RemoteProtocolError):
            await face.client.get(f"{EXPORT}csv")
        fails_at.append(len(asked) + 3)
        lines = (await face.client.get(f"{EXPORT}jsonl")).text.splitlines()
        assert len(lines) == 401
        assert '"error":{"message":"the ledger failed"' in lines[-1]
        await eventually("the error is in the log", lambda: "ExportStopped" in face.log_text)
