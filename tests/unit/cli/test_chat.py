"""`keyferry chat --json` when the ledger cannot say what a request used."""

from typing import cast

import pytest

from keyferry.cli.chat import fetch_usage
from keyferry.cli.chat_request import ChatResult
from keyferry.cli.connection import OperatorConnection
from keyferry.contracts.service import ErrorCode
from keyferry.runtime.bus.requests import BusError, Refused


class SilentLedger:
    def __init__(self, error: Exception) -> None:
        self._error = error

    async def ask(self, *_: object) -> None:
        raise self._error


@pytest.mark.parametrize("error", [BusError("nobody answers"), Refused(ErrorCode.UNAVAILABLE, "no database")])
async def test_a_ledger_that_does_not_say_is_no_failure_of_the_chat(error: Exception) -> None:
    me = cast(OperatorConnection, SilentLedger(error))
    assert await fetch_usage(me, "demo", ChatResult("req_1"), within_seconds=0) == []
