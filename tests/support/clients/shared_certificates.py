"""What HTTP clients of tests trust, read once."""

import functools
import importlib


def share_certificates() -> None:
    """Let all clients of this process share a TLS context if they ask for the same.

    Each would read the trusted certificates anew, which takes 20 ms, for calls that go to this machine without TLS.
    """
    for library in ("httpx", "httpx2"):
        transports = importlib.import_module(f"{library}._transports.default")
        transports.create_ssl_context = functools.cache(transports.create_ssl_context)  # type: ignore[attr-defined]
