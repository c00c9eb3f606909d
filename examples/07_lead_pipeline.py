"""A lead pipeline over the bus: it qualifies leads, writes to the good ones, and embeds them for search."""
# Run it in the directory of `KEYFERRY_EGRESS_ALLOW=127.0.0.0/8 make up`: the embedding model is in this file.

import asyncio
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from keyferry.client import Client, connect_with_credentials

CREDENTIALS = ".keyferry/secrets/demo-credentials.json"  # yours: `keyferry services create NAME --tenant TENANT`
CHAT, EMBEDDER = "echo", "lead-embedder"
ENDPOINTS = [sys.executable, "-m", "keyferry.cli.main", "endpoints"]
LEADS = {"ada": "We need 200 licences by March", "bob": "Just looking around"}


class Embedder(BaseHTTPRequestHandler):
    """A model server with one embedding model: the lengths of the words."""

    def do_POST(self) -> None:  # noqa: D102
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        rows = [{"index": at, "embedding": [float(len(w)) for w in t.split()]} for at, t in enumerate(asked["input"])]
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({"object": "list", "data": rows}).encode())


async def handle(client: Client, name: str, text: str) -> None:
    """Qualify one lead and write to it."""
    ask, tags = [{"role": "user", "content": f"Is this a buyer? {text}"}], {"lead": name}
    opinion = await client.chat(model=CHAT, messages=ask, operation="lead.qualify", tags=tags)
    if "licences" in opinion.text:
        ask = [{"role": "user", "content": f"Dear {name}, thank you for: {text}"}]
        email = await client.chat(model=CHAT, messages=ask, operation="lead.email", tags=tags)
        print(f"to {name}: {email.text}")


async def main() -> None:
    """Handle all leads, then embed them."""
    async with connect_with_credentials(CREDENTIALS) as client:
        while EMBEDDER not in {model.id.rpartition("/")[2] for model in await client.models()}:
            pass
        await asyncio.gather(*(handle(client, *lead) for lead in LEADS.items()))
        found = await client.embed(model=EMBEDDER, input=[*LEADS.values()], operation="lead.embed")
    print(f"{len(found.vectors)} vectors by {found.route.endpoint}, the first is {found.vectors[0]}")


with ThreadingHTTPServer(("127.0.0.1", 0), Embedder) as server:
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    subprocess.run([*ENDPOINTS, "add", "embedder", "--base-url", url, "--model", EMBEDDER, "--no-probe"], check=True)
    asyncio.run(main())
subprocess.run([*ENDPOINTS, "rm", "embedder"], check=True)
