"""Reads the spans of a trace from the stream TRACES of a running system, with the rights of the usage ledger."""

import asyncio
import json

import nats
from nats.errors import TimeoutError as NatsTimeoutError

from keyferry.contracts.topology import Role, inbox_prefix
from keyferry.contracts.traces import SPANS_RECORDED, TRACES, SpanBatch, SpanRecord
from tests.support.system.keyferry_system import KeyferrySystem

_TIMEOUT_SECONDS = 10.0
_MAX_MESSAGES = 1000


def stored_spans(system: KeyferrySystem, trace_id: str) -> list[SpanRecord]:
    """Return what is stored of a trace now."""
    seed = system.home / "secrets" / "nkeys" / f"{Role.USAGE_LEDGER.value}.seed"
    return asyncio.run(_read(str(system.state["nats_url"]), seed.read_text(), trace_id))


async def _read(nats_url: str, seed: str, trace_id: str) -> list[SpanRecord]:
    prefix = inbox_prefix(Role.USAGE_LEDGER.value)
    client = await nats.connect(nats_url, nkeys_seed_str=seed, inbox_prefix=prefix.encode())
    try:
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox)
        wanted = {"batch": _MAX_MESSAGES, "seq": 1, "next_by_subj": SPANS_RECORDED.pattern(trace=trace_id)}
        await client.publish(f"$JS.API.DIRECT.GET.{TRACES.name}", json.dumps(wanted).encode(), reply=inbox)
        spans: list[SpanRecord] = []
        while True:
            message = await answers.next_msg(timeout=_TIMEOUT_SECONDS)
            if not message.data:  # the end of the batch, or nothing found
                return spans
            spans += SpanBatch.decode(message.data).spans
    except NatsTimeoutError:
        raise AssertionError("the stream of spans does not answer") from None
    finally:
        await client.close()
