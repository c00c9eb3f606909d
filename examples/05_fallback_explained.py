"""Two servers offer a model and the first refuses: the second answers, and `keyferry explain` shows why."""
# Run it in the directory of `KEYFERRY_EGRESS_ALLOW=127.0.0.0/8 make up`: both servers are in this file, on this machine.

import asyncio
import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from keyferry.client import connect

STATE = json.loads(Path(".keyferry/run/state.json").read_text())
MODEL = "fallback-demo"
MESSAGE = {"role": "assistant", "content": "Hello from the second server"}
ANSWER = {"object": "chat.completion", "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}


class Server(BaseHTTPRequestHandler):
    """Both servers, by path."""

    def do_POST(self) -> None:  # noqa: D102
        self.rfile.read(int(self.headers["content-length"]))
        status, document = (429, {"error": {"message": "too many requests"}}) if "first" in self.path else (200, ANSWER)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())


def keyferry(*arguments: str) -> str:
    """Run the command; return its output."""
    command = [sys.executable, "-m", "keyferry.cli.main", *arguments, "--tenant", "demo"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


async def ask() -> str:
    """Send a request once both servers are available; return its id."""
    async with connect(STATE["nats_url"], tenant="demo", nkey_file=STATE["client_nkey_file"]) as client:
        while f"second/{MODEL}" not in {model.id for model in await client.models()}:
            pass
        answer = await client.chat(model=MODEL, messages=[{"role": "user", "content": "Hello"}])
    print(f"{answer.text} (attempt {answer.route.attempt_number}, endpoint {answer.route.endpoint})\n")
    return answer.request_id


with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
    Thread(target=server.serve_forever, daemon=True).start()
    for name in ("first", "second"):
        url = f"http://127.0.0.1:{server.server_port}/{name}/v1"
        keyferry("endpoints", "add", name, "--base-url", url, "--model", MODEL, "--priority", str(len(name)))
    request_id = asyncio.run(ask())
    for name in ("first", "second"):
        keyferry("endpoints", "rm", name)
while "completed" not in (trace := keyferry("explain", request_id)):
    pass
print(trace)
