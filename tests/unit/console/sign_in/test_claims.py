"""What the claims of an identity provider mean for a session, whatever they look like."""

from typing import Any

import pytest

from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.sessions import ClaimedMembership, SessionChannel, StartSession
from keyferry.contracts.sign_in_management import SESSION_START
from keyferry.runtime.http.problem import HttpProblem
from services.console.service_client import ServiceClient
from services.console.sign_in.claims import ClaimsMapping, read_identity
from services.console.sign_in.provider_document import ProviderProblem, read_document
from services.console.sign_in.session_starter import SessionStarter
from tests.support.servers.scripted_bus import ScriptedBus

ACME = ClaimedMembership(tenant="acme", role=AccessRole.OWNER)
MAPPING = ClaimsMapping(memberships={"acme-owners": ACME})
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "device_authorization_endpoint")


async def requested(**claims: Any) -> StartSession:
    """Return what the console requests of the directory for somebody with these claims."""
    bus = ScriptedBus()
    bus.answers(SESSION_START, Refusal(code=ErrorCode.CONFLICT, message="not in this test"))
    starter = SessionStarter(ServiceClient(bus.ask), idle_seconds=60, max_seconds=300)
    identity = read_identity({"sub": "ann", **claims}, MAPPING)
    with pytest.raises(HttpProblem, match="not in this test"):
        await starter.from_identity(identity, "https://id.example.com", SessionChannel.BROWSER, None)
    question = bus.asked[0][1]
    assert isinstance(question, StartSession)
    return question


@pytest.mark.parametrize(
    ("claims", "memberships"),
    [
        ({"groups": ["acme-owners", "others"]}, [ACME]),
        ({"groups": []}, []),
        ({}, []),
        ({"hasgroups": True}, None),
        ({"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {}}}, None),
        ({"_claim_names": {"address": "src1"}}, []),
        ({"_claim_names": "groups"}, []),
    ],
)
async def test_memberships_that_a_provider_leaves_out_end(
    claims: dict[str, Any], memberships: list[ClaimedMembership] | None
) -> None:
    """Many providers leave out an empty claim; only what they say to keep elsewhere is unknown."""
    assert (await requested(**claims)).memberships == memberships


@pytest.mark.parametrize(
    ("email", "kept"),
    [
        ("Ann@Example.com", "ann@example.com"),
        ("änn@example.com", "änn@example.com"),
        *(
            (email, None)
            for email in ("@example.com", "ann@", "a b@c", "a@b@c", "ann", "a\u00a0b@c", "", f"{'a' * 300}@b")
        ),
    ],
)
async def test_a_strange_address_keeps_nobody_from_signing_in(email: str, kept: str | None) -> None:
    assert (await requested(email=email, email_verified=True)).email == kept
    assert (await requested(email=email, email_verified="true")).email is None


@pytest.mark.parametrize("name", ["\u200b", "\u2800\u200b", " ", "\x00", "a" * 500, "\ud800"])
async def test_a_strange_name_keeps_nobody_from_signing_in(name: str) -> None:
    assert (await requested(name=name)).name


def document(issuer: str, url: str) -> dict[str, object]:
    return {"issuer": issuer, **dict.fromkeys(ENDPOINTS, url)}


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8222/", "https://localhost/", "http://[::1]:9000/", "http://id.example.com/"]
)
def test_a_provider_elsewhere_has_no_endpoints_on_the_consoles_machine(url: str) -> None:
    """The console sends the client's secret there."""
    with pytest.raises(ProviderProblem, match="no usable"):
        read_document(document("https://id.example.com", url), "https://id.example.com")


def test_a_provider_on_the_same_machine_has_its_endpoints_there() -> None:
    issuer = "http://127.0.0.1:9000"
    assert read_document(document(issuer, f"{issuer}/x"), issuer).token_endpoint == f"{issuer}/x"
