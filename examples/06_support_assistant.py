"""A support assistant over the bus: it streams its answers and remembers the conversation."""
# Run it in the directory of `make up`.

import asyncio

from keyferry.client import Client, RoutingOptions, connect_with_credentials

CREDENTIALS = ".keyferry/secrets/demo-credentials.json"  # yours: `keyferry services create NAME --tenant TENANT`
MODEL = "echo"  # answers with the question; `keyferry models` lists those that think
TICKET = RoutingOptions(conversation="ticket-1042")
QUESTIONS = ["My invoice is missing", "It was for October", "Please send it again"]


async def answer(client: Client, history: list[dict[str, str]], question: str) -> None:
    """Print the answer as it arrives, and keep both in the history."""
    history.append({"role": "user", "content": question})
    print(f"customer: {question}\nassistant: ", end="")
    async with client.stream(
        model=MODEL,
        messages=history,
        operation="support.answer",
        tags={"channel": "chat", "ticket": "1042"},
        routing=TICKET,
        timeout_seconds=30,
    ) as stream:
        async for delta in stream:
            print(delta.text, end="", flush=True)
    print()
    history.append({"role": "assistant", "content": stream.answer.text})


async def main() -> None:
    """Hold one conversation."""
    history = [{"role": "system", "content": "You help customers of a web shop, briefly and kindly."}]
    async with connect_with_credentials(CREDENTIALS) as client:
        for question in QUESTIONS:
            await answer(client, history, question)
    print(f"{len(history)} messages in the history")


asyncio.run(main())
