"""A meeting summariser over the bus: a transcript of 40,000 words in parts, side by side, then one summary as a stream."""
# Run it in the directory of `make up`.

import asyncio

from keyferry.client import Client, KeyferryError, connect_with_credentials

CREDENTIALS = ".keyferry/secrets/demo-credentials.json"  # yours: `keyferry services create NAME --tenant TENANT`
MODEL = "echo"  # repeats what it gets; `keyferry models` lists those that summarise
TRANSCRIPT = [f"Person {turn % 4}: {'we agreed to ship it ' * 8}" for turn in range(1000)]
PART_TURNS = 250
MEETING = {"meeting": "2026-11-30-planning"}


async def shorten(client: Client, number: int, turns: list[str]) -> str:
    """Return the notes of one part; without an answer within two minutes, a remark."""
    ask = [{"role": "user", "content": "Note what was decided:\n" + "\n".join(turns)}]
    try:
        notes = await client.chat(
            model=MODEL, messages=ask, operation="meeting.notes", tags=MEETING, timeout_seconds=120, max_tokens=400
        )
    except KeyferryError as error:
        return f"(part {number} is missing: {error})"
    return f"part {number}: {notes.text[:60]}"


async def main() -> None:
    """Summarise the meeting."""
    parts = [TRANSCRIPT[at : at + PART_TURNS] for at in range(0, len(TRANSCRIPT), PART_TURNS)]
    async with connect_with_credentials(CREDENTIALS) as client:
        notes = await asyncio.gather(*(shorten(client, number, part) for number, part in enumerate(parts, 1)))
        ask = [{"role": "user", "content": "Summary of the meeting\n" + "\n".join(notes)}]
        async with client.stream(
            model=MODEL, messages=ask, operation="meeting.summary", tags=MEETING, timeout_seconds=120
        ) as stream:
            async for delta in stream:
                print(delta.text, end="", flush=True)
    print(f"\n{len(parts)} parts, {stream.answer.usage.total_tokens} tokens for the summary")


asyncio.run(main())
