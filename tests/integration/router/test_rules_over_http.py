"""Routing rules as their users see them: over the management API, and by command from a file in a repository."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role
from keyferry.runtime.http.address_limiter import AddressLimiter
from keyferry.runtime.tracing.telemetry import Telemetry
from keyferry.sealing.private_keys import public_key_text
from services.console.handlers import build_application
from services.console.middleware import ManagementMiddleware
from services.console.sealing import Sealer
from tests.integration.cli.command import keyferry, operator_environment
from tests.integration.router.processes import RouterServers
from tests.integration.router.test_routing_rules import operating
from tests.support.servers.operator_only import no_page, no_sign_in, operator_only
from tests.support.servers.recorded_access import RecordingAsk
from tests.support.waiting import eventually

TOKEN = "an-operator-token-of-forty-characters-0123"
RULES = "/api/v1/ops/tenants/acme/routing/rules"
TO_CLAUDE = {"name": "code-to-claude", "when": {"operation": ["code"]}, "chain": [{"model": "claude-haiku-4-5"}]}
FILE = """\
rules:
  - name: code-to-claude
    when:
      operation: code
    chain:
      - model: claude-haiku-4-5
  - name: rest
    chain:
      - split:
          - {model: gpt-4o, weight: 99}
          - {model: gpt-4o-mini, weight: 1}
    default: true
"""


@asynccontextmanager
async def management(servers: RouterServers) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the management API on the bus, with the console's own permissions."""
    async with servers.bus.connected(Role.CONSOLE) as bus:
        routes = build_application(
            ask=RecordingAsk(bus.ask),
            sealer=Sealer(public_key_text(X25519PrivateKey.generate())),
            clock=lambda: datetime.now(UTC),
            waiting_for=list,
            draining=lambda: False,
        )
        app = ManagementMiddleware(
            routes,
            authenticate=operator_only(Secret(TOKEN)),
            sign_in=no_sign_in,
            page=no_page,
            webhooks=no_page,
            waiting_for=list,
            telemetry=Telemetry("console", {}),
            upload_timeout_seconds=5,
            failures=AddressLimiter(1000),
        )
        transport = httpx.ASGITransport(app=cast(Any, app))
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://console.test", headers=headers) as client:
            yield client


async def test_rules_over_http(servers: RouterServers) -> None:
    async with operating(servers) as (routing, _), management(servers) as client:
        assert (await client.get(RULES)).json() | {"tenant": ""} == {
            "tenant": "",
            "published": 0,
            "version": None,
            "draft": None,
            "not_applied": None,
        }
        assert (await client.get(f"{RULES}/draft")).status_code == 404
        saved = await client.put(f"{RULES}/draft", json={"rules": [TO_CLAUDE], "revision": 0})
        assert (saved.status_code, saved.json()["draft"]["revision"], saved.json()["findings"]) == (200, 1, [])
        lost = await client.put(f"{RULES}/draft", json={"rules": [], "revision": 0})
        assert (lost.status_code, lost.json()["error"]["code"]) == (409, "conflict")
        assert (await client.get(f"{RULES}/draft")).json()["rule_set"]["rules"][0]["name"] == "code-to-claude"

        tried = (await client.post(f"{RULES}/dry-run", json={})).json()
        assert (tried["requests"], tried["changed"], tried["matches"]) == (
            1,
            1,
            [{"rule": "code-to-claude", "requests": 1}],
        )
        compared = (await client.post(f"{RULES}/diff", json={})).json()
        assert [change["change"] for change in compared["changes"]] == ["added"]

        published = await client.post(f"{RULES}/publish", json={"revision": 1, "note": "try it"})
        assert (published.status_code, published.json()["version"]["version"]) == (200, 1)
        await eventually("the rules act", lambda: routing.service.facts()["rule_sets"] == "1")
        run, _ = await routing.chat("gpt-4o", operation="code")
        assert run is not None
        assert run.provider == "anthropic"

        nothing = await client.post(f"{RULES}/publish", json={"rules": [], "expected_version": 1})
        assert nothing.json()["version"]["version"] == 2
        back = await client.post(f"{RULES}/rollback", json={"version": 1})
        assert (back.json()["version"]["version"], back.json()["version"]["restored_from"]) == (3, 1)
        listed = (await client.get(f"{RULES}/versions?limit=2")).json()
        assert ([row["version"] for row in listed["data"]], listed["next"], listed["published"]) == ([3, 2], "2", 3)
        rest = (await client.get(f"{RULES}/versions?limit=2&after=2")).json()
        assert ([row["note"] for row in rest["data"]], rest["next"]) == (["try it"], None)

        for body, status, text in (
            ({"rules": [TO_CLAUDE | {"whn": 1}]}, 400, "rules[0].whn: there is no such field"),
            ({"rules": [TO_CLAUDE | {"when": {"power_level": ["turbo"]}}]}, 422, "'eco', 'balanced' or 'precision'"),
            ({"rules": [TO_CLAUDE | {"chain": [{"model": "gpt-4oo"}]}]}, 422, "did you mean gpt-4o"),
            ({"rules": [TO_CLAUDE, TO_CLAUDE]}, 422, "both called code-to-claude"),
            ({"rules": [{"name": "all", "chain": [{"model": "gpt-4o"}]}]}, 422, "it has no condition"),
            ({"expected_version": 1, "rules": [TO_CLAUDE]}, 409, "version 3 is published"),
            ({}, 404, "has no draft"),
        ):
            refused = await client.post(f"{RULES}/publish", json=body)
            assert (refused.status_code, text in refused.json()["error"]["message"]) == (status, True), refused.text
        assert (await client.get(RULES)).json()["published"] == 3


async def test_rules_from_a_file(servers: RouterServers, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(FILE)
    async with operating(servers) as (routing, _):

        async def route(*arguments: str) -> tuple[int, str]:
            ran = await keyferry("route", *arguments, environment=operator_environment(servers.bus), cwd=tmp_path)
            return ran.status, ran.out + ran.err

        status, shown = await route("publish", "rules.yaml", "--dry-run", "--tenant", "acme")
        assert status == 0
        for text in ("added code-to-claude", "1 past requests", "anthropic/claude-haiku-4-5", "nothing was published"):
            assert text in shown
        assert await route("versions", "--tenant", "acme") == (
            0,
            "acme has published no routing rules: `keyferry route publish --tenant acme FILE` does\n",
        )
        status, shown = await route("publish", "rules.yaml", "--note", "as reviewed", "--tenant", "acme")
        assert (status, "published version 1 of acme: 2 rules" in shown) == (0, True)
        await eventually("the rules act", lambda: routing.service.facts()["rule_sets"] == "1")

        _, text = await route("show", "--tenant", "acme")
        assert text.startswith("# Routing rules of acme, version 1,\n")
        (tmp_path / "again.yaml").write_text(text)
        status, shown = await route("diff", "again.yaml", "--tenant", "acme")
        assert (status, shown.splitlines()[0]) == (0, "no difference to version 1")
        status, shown = await route("publish", "again.yaml", "--tenant", "acme")
        assert (status, "version 1 of acme has the same rules and stays published" in shown) == (0, True)

        file.write_text(FILE.replace("claude-haiku-4-5", "grok-4"))
        for arguments in (("publish", "rules.yaml", "--dry-run"), ("publish", "rules.yaml"), ("diff", "rules.yaml")):
            status, shown = await route(*arguments, "--tenant", "acme")
            assert (status, "fault, rule code-to-claude: no model of its chain can be called now" in shown) == (1, True)
        file.write_text("rules:\n  - name: a\n  - name: a\n    nmae: b\n")
        status, shown = await route("publish", "rules.yaml", "--tenant", "acme")
        assert (status, "rules.yaml, line 2: rules[0].chain: this is required" in shown) == (1, True)
        file.write_text("rules: []\n")
        assert (await route("publish", "rules.yaml", "--tenant", "acme"))[0] == 0
        status, shown = await route("rollback", "1", "--tenant", "acme")
        assert (status, "published version 3 of acme: 2 rules" in shown) == (0, True)
        status, shown = await route("versions", "--tenant", "acme")
        assert [line.split()[0] for line in shown.splitlines()] == ["VERSION", "3", "2", "1"]
        assert "restores version 1" in shown
