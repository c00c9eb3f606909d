"""Tries the address of an endpoint: one GET of its model list through the guarded client, without any credential.

However the call ends is a finding; nothing raises for what a server sends or fails to send.
"""

import asyncio
import time

from keyferry.contracts.health import ECHO_ADDRESS
from keyferry.contracts.route import EndpointProbe, ProbeEndpoint, ProbeOutcome
from keyferry.runtime.upstream.client import Timeouts, UpstreamClient, UpstreamResponse
from keyferry.runtime.upstream.errors import IncompleteResponse, NoResponse, NotSent, NotSentReason
from services.provider_worker.key_test.listing import MAX_LIST_BYTES, read_models

PROBE_SECONDS = 10.0
TIMEOUTS = Timeouts(connect_seconds=5, first_byte_seconds=8, between_bytes_seconds=5)
_NEVER = frozenset({NotSentReason.FORBIDDEN, NotSentReason.INVALID})


class _NoList(Exception):
    """Leaves a response that is not read further: its connection is closed."""


class EndpointProber:
    """Probes endpoints, each within `within_seconds`."""

    def __init__(self, client: UpstreamClient, *, within_seconds: float = PROBE_SECONDS) -> None:
        self._client = client
        self._within_seconds = within_seconds

    async def probe(self, command: ProbeEndpoint) -> EndpointProbe:
        """Ask the server for its models, and return what was found. The built-in echo needs no call."""
        if command.base_url == ECHO_ADDRESS:
            return EndpointProbe(outcome=ProbeOutcome.ANSWERED, status=200, detail="the built-in echo", duration_ms=0)
        started_ns = time.monotonic_ns()
        outcome, status, models = ProbeOutcome.UNREACHABLE, None, None
        try:
            async with asyncio.timeout(self._within_seconds):
                headers = {"Accept": "application/json"}
                url = f"{command.base_url.rstrip('/')}/models"
                async with self._client.stream("GET", url, headers, b"", TIMEOUTS) as response:
                    outcome, status = ProbeOutcome.ANSWERED, response.status
                    models = await _read_list(response) if 200 <= response.status < 300 else None
                    if models is None:
                        raise _NoList
            detail = "the server answers"
        except _NoList:
            detail = f"the server answers with status {status}"
        except NotSent as error:
            outcome = ProbeOutcome.FORBIDDEN if error.reason in _NEVER else ProbeOutcome.UNREACHABLE
            detail = str(error)
        except (NoResponse, IncompleteResponse) as error:
            detail = str(error)
        except TimeoutError:
            detail = f"the server did not answer completely within {self._within_seconds:g} s"
        return EndpointProbe(
            outcome=ProbeOutcome.LISTED if models is not None else outcome,
            status=status,
            models=models or [],
            detail=detail,
            duration_ms=(time.monotonic_ns() - started_ns) // 1_000_000,
        )


async def _read_list(response: UpstreamResponse) -> list[str] | None:
    """Return the models in a response; None if it is no list of models. Raises IncompleteResponse."""
    body = bytearray()
    async for data in response.aiter_raw():
        body += data
        if len(body) > MAX_LIST_BYTES:
            return None
    models = read_models(bytes(body))
    return None if models is None else [model.name for model in models]
