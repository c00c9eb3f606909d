"""Stored prompts and answers through the whole running system: nothing by default, redacted where a tenant wants that."""

import json
from typing import Any

import pytest

from tests.support.providers.openai_double import ANSWER
from tests.support.vault.keyed_system import KeyedSystem
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

ADDRESS = "kim.lee@mail.example.com"


def test_content_is_stored_only_where_it_is_wanted_and_every_reading_is_recorded(keyed_system: KeyedSystem) -> None:
    tenant = "archive"
    account = keyed_system.new_tenant(tenant, keys="own")
    keyed_system.add(tenant, keyed_system.provider.issue())
    before = account.wait_for_status(200).headers["x-request-id"]
    said = keyed_system.cli("tenants", "set", tenant, "--content", "redacted", "--content-days", "7")
    assert "for 7 days; owners and administrators can read them" in said

    def stored(request_id: str) -> list[dict[str, Any]]:
        shown = keyed_system.cli("requests", "show", request_id, "--content", "--tenant", tenant, "--json")
        attempts: list[dict[str, Any]] = json.loads(shown)["attempts"]
        return attempts

    def asked(*, stream: bool) -> list[dict[str, Any]] | None:
        """The router follows the tenant's policy with a delay: ask until a request has content."""
        response = account.ask(messages=[{"role": "user", "content": f"write to {ADDRESS}"}], stream=stream)
        assert response.status_code == 200
        request_id = response.headers["x-request-id"]
        account.attempts(request_id)
        return stored(request_id)

    for stream in (False, True):
        (attempt,) = until("content is stored", lambda stream=stream: asked(stream=stream))  # type: ignore[misc]
        assert json.loads(attempt["request"])[-1]["content"] == "write to [redacted e-mail]"
        assert ANSWER in attempt["answer"]
        assert attempt["policy"] == "redacted"
    assert stored(before) == [], "nothing was stored before it was wanted"

    entries = json.loads(keyed_system.cli("audit", "list", "--tenant", tenant, "--json"))["entries"]
    readings = [entry["event"] for entry in entries if entry["event"]["action"] == "content.read"]
    assert readings
    assert {event["actor"] for event in readings} == {"operator"}
