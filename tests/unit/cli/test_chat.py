"""`keyferry chat --json` when the ledger cannot say what a request used."""

from typing import cast

import pytest

from keyferry.cli.chat import fetch_usage
from keyferry.cli.chat_request import ChatResult
from keyferry.cli.connection import OperatorConnection
from keyferry.contracts.frames import Accepted
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.usage import KeySource
from keyferry.runtime.bus.requests import BusError, Refused

ACCEPTED = Accepted(
    attempt_id="att_1",
    instance_id="inst_1",
    attempt_number=1,
    decision_id="dec_1",
    provider="echo",
    model="echo",
    key_source=KeySource.NONE,
)


class SilentLedger:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def ask(self, *_: object) -> None:
        raise self._error


@pytest.mark.parametrize("error", [BusError("nobody answers"), Refused(ErrorCode.UNAVAILABLE, "no database")])
async def test_a_ledger_that_does_not_say_is_no_failure_of_the_chat(error: Exception) -> None:
    me = cast(OperatorConnection, SilentLedger(error))
    result = ChatResult("req_1", accepted=ACCEPTED)
    assert await fetch_usage(me, "demo", result, within_seconds=0) == {"usage": None, "cost_usd": "unknown"}
