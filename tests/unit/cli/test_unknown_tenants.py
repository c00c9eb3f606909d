"""Every command that is about a tenant refuses an unknown one with the same words, before anything is asked or changed."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest

from keyferry.cli import connection, doctor, main
from keyferry.cli.installation import Installation
from keyferry.contracts.service import ServiceReport
from keyferry.contracts.tenancy import ListTenants, Tenant, Tenants, Tier
from keyferry.runtime.bus.requests import BusError

_ARGUMENTS = {
    "recommendation_id": ["cheaper-gpt-5-mini-12345678"],
    "amount": ["5"],
    "ceiling": ["--ceiling", "200"],
    "off": ["--off"],
    "purchase": ["pur_00000000000000000000000001"],
    "tier": ["professional"],
    "budget_id": ["bud_00000000000000000000000001"],
    "reconciliation_id": ["rcn_00000000000000000000000001"],
    "alert_id": ["alt_00000000000000000000000001"],
    "rule_id": ["alr_default_key_invalid"],
    "metric": ["spend"],
    "endpoint_id": ["whe_00000000000000000000000001"],
    "channel_id": ["chn_00000000000000000000000001"],
    "report_id": ["rep_00000000000000000000000001"],
    "address": ["ops@example.com"],
    "code": ["12345678"],
    "frequency": ["monthly"],
    "channel": ["--channel", "chn_00000000000000000000000001"],
    "url": ["--url", "https://example.com/hook"],
    "emails": ["--email", "ops@example.com"],
    "delivery_id": ["--delivery-id", "dlv_00000000000000000000000001"],
    "threshold": ["--threshold", "5"],
    "month": ["2026-10"],
    "limit": ["--limit", "5"],
    "window": ["--window", "month"],
    "text": ["hello"],
    "request_id": ["req_00000000000000000000000001"],
    "given_id": ["req_00000000000000000000000001"],
    "name": ["local"],
    "key_id": ["key_00000000000000000000000001"],
    "token_id": ["tok_00000000000000000000000001"],
    "provider": ["--provider", "openai"],
    "base_url": ["--base-url", "http://127.0.0.1:1/v1"],
    "confirm": ["--confirm", "nosuch"],
    "yes": ["--yes"],
    "label": ["--label", "new"],
    "drop_unsupported": ["--drop-unsupported"],
    "rpm": ["--rpm", "1"],
    "rating": ["up"],
    "assignments": ["temperature=1"],
    "names": ["temperature"],
    "target": ["lab"],
    "for_seconds": ["--for", "10m"],
    "reason": ["--reason", "maintenance"],
    "email": ["ann@example.com"],
    "role": ["viewer"],
    "member": ["mem_00000000000000000000000001"],
    "members": ["mem_00000000000000000000000001"],
    "invitation_id": ["inv_00000000000000000000000001"],
    "team": ["research"],
    "kind": ["openai_admin_key"],
    "secret_id": ["isec_00000000000000000000000001"],
}
"""A valid value for each parameter that some command needs."""
_OPTIONS = {
    "name": ["--name", "x"],
    "role": ["--role", "viewer"],
    "amount": ["--amount", "50"],
    "frequency": ["--frequency", "monthly"],
}
"""The same where they are options and are arguments elsewhere."""
_FILE_OPTIONS = {"key_file": "--key-file", "secret_file": "--secret-file"}
"""They name a file with a secret."""
_OFTEN_OPTIONS = ("key_id", "text", "target", "team", "member", "tier", "rule_id", "kind")
"""They need a value where they are arguments; as options they may be left out."""
_WITHOUT_TENANTS = (["tenants", "create"], ["login"])
"""One makes the tenant; the console answers the other, and no service on the bus."""


def _commands(group: click.Group, path: list[str]) -> Iterator[tuple[list[str], click.Command]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield [*path, name], command
            yield from _commands(command, [*path, name])
        elif command is not None:
            yield [*path, name], command


def _either(parameter: click.Parameter) -> list[str] | None:
    """Return the value of a parameter that is an argument of some commands and an option of others; None for any other."""
    is_argument = isinstance(parameter, click.Argument)
    if parameter.name == "tenant":
        return ["nosuch"] if is_argument else ["--tenant", "nosuch"]
    if parameter.name in ("since", "until") and parameter.required:
        return ["2026-11-01"] if is_argument else [f"--{parameter.name}", "2026-11-01"]
    return ["openai"] if parameter.name == "provider" and is_argument else None


def _arguments(command: click.Command, key_file: Path) -> list[str]:
    arguments = []
    for parameter in command.params:
        if (given := _either(parameter)) is not None:
            arguments += given
        elif parameter.name in _OFTEN_OPTIONS and isinstance(parameter, click.Option):
            continue
        elif parameter.name in _FILE_OPTIONS:
            arguments += [_FILE_OPTIONS[parameter.name], str(key_file)]
        elif parameter.name in ("name", "provider", "label", "role", "amount", "frequency") and isinstance(
            parameter, click.Option
        ):
            arguments += _OPTIONS.get(parameter.name, _ARGUMENTS[parameter.name])
        elif parameter.name == "file":
            arguments += [str(key_file.with_name("rules.yaml"))]
        elif parameter.name == "request_file":
            arguments += [str(key_file.with_name("request.json"))]
        elif parameter.name == "version" and isinstance(parameter, click.Argument):
            arguments += ["1"]
        elif parameter.name in _ARGUMENTS:
            arguments += _ARGUMENTS[parameter.name]
    return arguments


_ABOUT_A_TENANT = {
    " ".join(path): (path, command)
    for path, command in _commands(main.cli, [])
    if path not in _WITHOUT_TENANTS and any(parameter.name == "tenant" for parameter in command.params)
}


class Directory:
    """A bus on which only the tenant directory answers."""

    client: "Directory"

    def __init__(self) -> None:
        self.client = self

    async def rtt(self) -> float:
        return 0.0

    async def collect_reports(self) -> list[ServiceReport]:
        return []

    async def collect_server_health(self) -> list[ServiceReport]:
        return []

    async def ask(self, _: object, question: object, *, timeout_seconds: float = 0.0) -> Tenants:
        if isinstance(question, ListTenants):
            return Tenants(tenants=[Tenant(tenant=name, name=name, tier=Tier.FREE) for name in ("acme", "demo")])
        raise BusError("no service answers")


@pytest.fixture
def _bus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @asynccontextmanager
    async def operator(_: Installation) -> AsyncIterator[Directory]:
        yield Directory()

    monkeypatch.setattr(connection, "operator", operator)
    monkeypatch.setattr(doctor, "operator", operator)
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:1")
    monkeypatch.delenv("KEYFERRY_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("sk-something-plausible\n")
    (tmp_path / "rules.yaml").write_text("rules: []\n")
    (tmp_path / "request.json").write_text('{"model": "echo", "messages": []}')


def test_all_commands_about_a_tenant_are_known_here() -> None:
    assert len(_ABOUT_A_TENANT) >= 25
    assert {"usage", "models", "audit verify", "vault shred", "keys add", "tenants update"} <= set(_ABOUT_A_TENANT)


@pytest.mark.usefixtures("_bus")
@pytest.mark.parametrize("name", _ABOUT_A_TENANT)
def test_an_unknown_tenant_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, command = _ABOUT_A_TENANT[name]
    status = main.run([*path, *_arguments(command, tmp_path / "key")])
    printed = capsys.readouterr()
    shown = printed.out + printed.err
    assert (status, "there is no tenant 'nosuch'" in shown) == (1, True), shown
    assert "acme, demo" in shown
