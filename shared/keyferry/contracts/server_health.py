"""What a NATS server reports about its own health. Pure.

The server answers `$SYS.REQ.SERVER.PING.HEALTHZ` in its system account; the configuration exports that one request to ours
(`topology.SERVER_HEALTH`). A stream that could not be written once, because the disk was full, refuses every later message until
the server is restarted, and only this report says so (measured with nats-server 2.15.1: what it says about the stream and the
account looks well, and other streams store messages).
"""

import json
from dataclasses import dataclass

SYSTEM_HEALTH_SUBJECT = "$SYS.REQ.SERVER.PING.HEALTHZ"
SYSTEM_IDENTITY_SUBJECT = "$SYS.REQ.SERVER.PING.IDZ"
"""Each server that it reaches answers with its id, so that a client can count the servers that its own one reaches
(`topology.SERVER_IDENTITY`)."""
_OK = 200
_WRITE_ERROR = "write error"
_MAX_ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """The health of one server; `error` is empty if it is well."""

    server: str
    error: str

    @property
    def needs_restart(self) -> bool:
        """Whether a stream stopped storing messages after a failed write, which only a restart of the server ends."""
        return _WRITE_ERROR in self.error


def parse_server_health(reply: bytes) -> ServerHealth | None:
    """Return the health in a server's reply, or None if it is no such report."""
    try:
        report = json.loads(reply)
        server, data = report["server"]["name"], report["data"]
        error = "" if data["status_code"] == _OK else str(data.get("error") or data["status"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return ServerHealth(_clean(str(server)), _clean(error))


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_ERROR_CHARACTERS])
