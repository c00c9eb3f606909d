"""The command line of a signed-in member, against the routes of the console with a scripted bus."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from keyferry.cli import main
from keyferry.cli.member_connection import MemberConnection, choose_session
from keyferry.cli.problem import Problem
from keyferry.cli.session_file import SavedSession, save
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.audit import AuditVerification, VerifyAudit
from keyferry.contracts.key import KeyTest, KeyTestResult, TryKey
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.tenancy import ClientTokens, CreateClientToken, ListClientTokens, Tenant, Tier
from keyferry.contracts.topology import (
    AUDIT_VERIFY,
    KEY_TRY,
    TENANT_GET,
    TOKEN_CREATE,
    TOKEN_LIST,
    TOKEN_REVOKE,
)
from keyferry.runtime.bus.requests import Refused
from tests.unit.console.people import person
from tests.unit.console.surface import NOW, VAULT, Surface
from tests.unit.console.test_commands import ANN, BOB, TOKENS

URL = "http://127.0.0.1:8401"
SESSION = SavedSession(URL, Secret("kfs_a-session-that-nobody-may-see"))


@pytest.fixture
def surface(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Surface:
    """The console, which takes every request for one of ann, a developer of acme; the session is saved."""
    surface = Surface(principal=person(AccessRole.DEVELOPER))
    surface.bus.answers(TENANT_GET, Tenant(tenant="acme", name="Acme", tier=Tier.FREE))
    surface.bus.answers(TOKEN_LIST, TOKENS)
    surface.bus.answers(TOKEN_CREATE, TOKENS.tokens[0])
    surface.bus.answers(TOKEN_REVOKE, TOKENS.tokens[0])
    transport = httpx.ASGITransport(app=cast(Any, surface.middleware))
    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=transport))
    for name in ("KEYFERRY_NATS_URL", "KEYFERRY_HOME", "KEYFERRY_INTAKE_PUBLIC_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYFERRY_URL", URL)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save(SESSION, tmp_path / "keyferry" / "sessions.json")
    return surface


def test_the_tenant_is_the_members_own(surface: Surface, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tokens", "list"]) == 0
    assert ANN in (shown := capsys.readouterr().out)
    assert BOB not in shown
    assert surface.bus.asked[-1] == ("token.list", ListClientTokens(tenant="acme"))
    assert main.run(["tokens", "list", "--tenant", "acme"]) == 0


@pytest.mark.parametrize("tenant", ["globex", "nobody", "demo"])
def test_there_is_no_other_tenant(surface: Surface, capsys: pytest.CaptureFixture[str], tenant: str) -> None:
    assert main.run(["tokens", "list", "--tenant", tenant]) == 1
    assert "there is no tenant" in capsys.readouterr().err
    assert surface.bus.asked == []


def test_a_change_is_made_in_the_members_name(surface: Surface, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["tokens", "create", "--label", "mine"]) == 0
    created = surface.bus.asked[-1][1]
    assert isinstance(created, CreateClientToken)
    assert (created.tenant, created.member, created.actor, created.label) == ("acme", "ann", "member:ann", "mine")
    assert main.run(["tokens", "revoke", BOB]) == 1
    assert "no such client token" in capsys.readouterr().err
    assert main.run(["tokens", "revoke", ANN]) == 0


def test_what_the_role_does_not_allow_is_said(surface: Surface, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["budgets", "remove", "bud_00000000000000000000000001"]) == 1
    shown = capsys.readouterr().err
    assert "your role does not allow this command" in shown
    assert "Ask an owner or admin" in shown
    assert "budget.remove" not in [name for name, _ in surface.bus.asked]
    assert main.run(["tenants", "list"]) == 1
    assert "does not allow" in capsys.readouterr().err


def test_without_a_tenant_only_the_own_is_checked(surface: Surface) -> None:
    surface.principal = person(AccessRole.ADMIN)
    surface.bus.answers(AUDIT_VERIFY, AuditVerification(tenants=1, entries=2))
    assert main.run(["audit", "verify"]) == 0
    verified = surface.bus.asked[-1][1]
    assert isinstance(verified, VerifyAudit)
    assert verified.tenant == "acme"


def test_a_key_is_sealed_before_it_is_sent(surface: Surface, tmp_path: Path) -> None:
    """To the intake key that the console has compared with the pinned one."""
    surface.principal = person(AccessRole.ADMIN)
    surface.bus.answers(KEY_TRY, KeyTest(result=KeyTestResult.VALID, steps=[], duration_ms=1, tested_at=NOW))
    secret = "sk-proj-Qw7Zr2Lm9Xc4Vb8Nk3Jh6Gf1Ds5Ap0Oi7Uy2Te4RA9f2"
    (tmp_path / "key").write_text(secret)
    assert main.run(["keys", "try", "--provider", "openai", "--key-file", str(tmp_path / "key")]) == 0
    tried = surface.bus.asked[-1][1]
    assert isinstance(tried, TryKey)
    assert VAULT.open(tried.sealed, "acme", "openai", "https://api.openai.com").reveal() == secret
    assert not any(secret.encode() in question.encode() for _, question in surface.bus.asked)


@pytest.mark.parametrize("command", [["status"], ["doctor"], ["restart", "router"], ["chat", "hello"]])
def test_what_needs_the_operators_connection_says_so(
    surface: Surface, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main.run(command) == 1
    shown = capsys.readouterr().err
    assert f"you are signed in as a member at {URL}" in shown
    assert ("the operator" in shown) or ("client token" in shown)


@pytest.mark.parametrize(("command"), [["ledger", "partitions"], ["credits", "workers"]])
def test_what_is_only_on_the_bus_is_explained(
    surface: Surface, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main.run(command) == 1
    assert "use the operator's connection to the bus" in capsys.readouterr().err


def test_an_operator_who_has_signed_in_names_the_tenant(surface: Surface) -> None:
    surface.principal = person(AccessRole.OPERATOR)
    surface.bus.answers(TOKEN_LIST, ClientTokens(tokens=[]))
    assert main.run(["tokens", "list", "--tenant", "globex"]) == 0
    assert surface.bus.asked[-1] == ("token.list", ListClientTokens(tenant="globex"))


def test_a_session_that_has_ended_is_reported(surface: Surface, capsys: pytest.CaptureFixture[str]) -> None:
    surface.principal = None
    assert main.run(["tokens", "list"]) == 1
    shown = capsys.readouterr().err
    assert "Sign in again" in shown
    assert SESSION.token.reveal() not in shown


def answering(response: httpx.Response) -> MemberConnection:
    async def handle(_: httpx.Request) -> httpx.Response:
        return response

    return MemberConnection(httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(handle)), URL)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (404, ErrorCode.NOT_FOUND),
        (409, ErrorCode.CONFLICT),
        (422, ErrorCode.INVALID),
        (503, ErrorCode.UNAVAILABLE),
        (500, ErrorCode.INTERNAL),
    ],
)
async def test_a_refusal_is_the_one_of_the_bus(status: int, code: ErrorCode) -> None:
    me = answering(httpx.Response(status, json={"error": {"message": "because"}}))
    with pytest.raises(Refused) as refused:
        await me.ask(TOKEN_LIST, ListClientTokens(tenant="acme"))
    assert refused.value.refusal == Refusal(code=code, message="because")


@pytest.mark.parametrize("body", ["<html>a proxy's page</html>", "[]", '{"error": "x"}', '{"error": {"message": 7}}'])
async def test_an_answer_of_somebody_else_is_not_repeated(body: str) -> None:
    with pytest.raises(Problem, match="not one of the management API") as refused:
        await answering(httpx.Response(418, text=body)).ask(TOKEN_LIST, ListClientTokens(tenant="acme"))
    assert "proxy" not in refused.value.what


def test_the_connection_is_chosen_by_rule(tmp_path: Path) -> None:
    sessions, here = tmp_path / "sessions.json", tmp_path / "here"
    (here / ".keyferry").mkdir(parents=True)
    elsewhere = {"KEYFERRY_URL": "https://keyferry.example.com"}
    assert choose_session({}, tmp_path, sessions) is None, "nobody has signed in"
    with pytest.raises(Problem, match=r"not signed in at https://keyferry\.example\.com"):
        choose_session(elsewhere, here, sessions)
    save(SESSION, sessions)
    assert choose_session({}, tmp_path, sessions) == SESSION
    assert choose_session({}, here, sessions) is None, "an installation here is the operator's"
    assert choose_session({"KEYFERRY_NATS_URL": "nats://127.0.0.1:1"}, tmp_path, sessions) is None
    assert choose_session({"KEYFERRY_HOME": str(here)}, tmp_path, sessions) is None
    assert choose_session({"KEYFERRY_URL": f"{URL}/"}, here, sessions) == SESSION, "the address decides"
    with pytest.raises(Problem, match="not signed in"):
        choose_session(elsewhere, here, sessions)
