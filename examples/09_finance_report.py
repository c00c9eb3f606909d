"""A finance report over the bus: the first provider is down, the second one writes the report."""
# Run it in the directory of `KEYFERRY_EGRESS_ALLOW=127.0.0.0/8 make up`: both providers are in this file, on this machine.

import asyncio
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from keyferry.client import connect_with_credentials

CREDENTIALS = ".keyferry/secrets/demo-credentials.json"  # yours: `keyferry services create NAME --tenant TENANT`
MODEL = "report-writer"
PROVIDERS = {"first": "1", "backup": "2"}
FIGURES = {"revenue": 120_000, "costs": 87_500}


class Provider(BaseHTTPRequestHandler):
    """Two providers, by path: the first refuses, the second writes."""

    def do_POST(self) -> None:  # noqa: D102
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = {"role": "assistant", "content": f"Report on {asked['messages'][0]['content']}"}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        status, answer = 200, {"object": "chat.completion", "choices": choices}
        if "first" in self.path:
            status, answer = 503, {"error": {"message": "down for maintenance"}}
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


def keyferry(*arguments: str) -> None:
    """Run the command."""
    subprocess.run([sys.executable, "-m", "keyferry.cli.main", *arguments, "--tenant", "demo"], check=True)


async def main() -> None:
    """Write the report with the provider that can."""
    async with connect_with_credentials(CREDENTIALS) as client:
        while f"backup/{MODEL}" not in {model.id for model in await client.models()}:
            pass
        ask = [{"role": "user", "content": json.dumps(FIGURES)}]
        report = await client.chat(model=MODEL, messages=ask, operation="finance.report", tags={"quarter": "2026-q3"})
    print(f"{report.text} (by {report.route.endpoint}, because of {report.route.fallback_reason})")


with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
    Thread(target=server.serve_forever, daemon=True).start()
    for name, priority in PROVIDERS.items():
        url = f"http://127.0.0.1:{server.server_port}/{name}/v1"
        keyferry("endpoints", "add", name, "--base-url", url, "--model", MODEL, "--priority", priority, "--no-probe")
    asyncio.run(main())
for name in PROVIDERS:
    keyferry("endpoints", "rm", name)
