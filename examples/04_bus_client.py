"""A tenant's own program sends requests over the bus, without HTTP. Run it in the directory of `make up`."""

import asyncio
import json
from pathlib import Path

from keyferry.client import connect

state = json.loads(Path(".keyferry/run/state.json").read_text())
bus = connect(state["nats_url"], tenant="demo", nkey_file=state["client_nkey_file"])
messages = [{"role": "user", "content": "Hello over the bus"}]


async def main() -> None:
    """Print a stream and its token usage."""
    async with bus as client, client.stream(model="echo", messages=messages) as stream:
        async for delta in stream:
            print(delta.text, end="", flush=True)
    print(f"\n{stream.answer.usage.total_tokens} tokens, by {stream.answer.route.provider}, {stream.request_id}")


asyncio.run(main())
