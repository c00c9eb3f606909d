"""The connection of the bus client, with the event loop of the services."""

import asyncio
from urllib.parse import urlsplit

import pytest
import uvloop

from keyferry.runtime.bus.client import _Transport
from tests.support.waiting import TIMEOUT_SECONDS


async def _write_after_the_end(*, lines: bool) -> None:
    """Write to a connection that has been aborted until that raises."""

    async def ignore(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    async with server, asyncio.timeout(TIMEOUT_SECONDS):
        address = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = _Transport()  # type: ignore[no-untyped-call]
        await transport.connect(urlsplit(address), 1024, 5)  # type: ignore[arg-type]
        transport.drop()
        while True:
            if lines:
                transport.writelines([b"PING\r\n"])
            else:
                transport.write(b"PING\r\n")
            await asyncio.sleep(0)


@pytest.mark.parametrize("lines", [False, True])
def test_a_write_to_a_connection_that_has_ended_is_an_error_of_the_connection(lines: bool) -> None:
    """uvloop's RuntimeError made a request fail as an internal error while its process changed servers."""
    with pytest.raises(ConnectionResetError):
        uvloop.run(_write_after_the_end(lines=lines))
