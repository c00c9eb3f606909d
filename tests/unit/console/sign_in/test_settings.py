"""Settings of signing in that are refused, and what is said instead of starting; cookies follow the address."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.tenancy import Tier
from keyferry.runtime.process.settings import SettingsError
from services.console.sign_in.cookies import CookiePolicy
from services.console.sign_in.settings import SignInSettings

ISSUER = "https://id.example.com/realms/keyferry"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text("a-random-secret-for-tests-0123456789abcdef")
    return file


def settings(_: Path, **values: object) -> SignInSettings:
    """Return settings with what every service needs."""
    return SignInSettings.model_validate({"nats_url": "nats://127.0.0.1:4222", **values})


def refusal(key: Path, **values: object) -> str:
    with pytest.raises(SettingsError) as refused:
        settings(key, **values).check_files()
    return str(refused.value)


def test_the_built_in_login_and_an_issuer_exclude_each_other(key: Path) -> None:
    text = refusal(key, login_key_file=str(key), oidc_issuer=ISSUER, session_key_file=str(key))
    assert "KEYFERRY_LOGIN_KEY_FILE and KEYFERRY_OIDC_ISSUER are both set" in text
    assert "Remove one of them" in text
    settings(key, login_key_file=str(key)).check_files()
    settings(key, oidc_issuer=ISSUER, session_key_file=str(key)).check_files()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "keyferry.example.com", "127.0.0.1.example.com"])
def test_the_built_in_login_is_refused_on_other_addresses(key: Path, host: str) -> None:
    assert "KEYFERRY_HTTP_HOST=127.0.0.1 only" in refusal(key, login_key_file=str(key), http_host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_built_in_login_is_for_this_machine(key: Path, host: str) -> None:
    settings(key, login_key_file=str(key), http_host=host).check_files()


@pytest.mark.parametrize("url", ["https://keyferry.example.com", "https://localhost.example.com"])
def test_the_built_in_login_is_refused_behind_a_public_address(key: Path, url: str) -> None:
    """A reverse proxy would make a listener on this machine reachable from everywhere."""
    text = refusal(key, login_key_file=str(key), public_url=url)
    assert "KEYFERRY_LOGIN_KEY_FILE" in text
    assert "KEYFERRY_PUBLIC_URL" in text


@pytest.mark.parametrize("url", ["http://127.0.0.1:8401", "https://localhost:8443", "http://[::1]:8401"])
def test_the_built_in_login_may_have_a_public_address_on_this_machine(key: Path, url: str) -> None:
    settings(key, login_key_file=str(key), public_url=url).check_files()


@pytest.mark.parametrize(
    "url",
    [
        "http://keyferry.example.com",
        "https://keyferry.example.com/console",
        "https://keyferry.example.com/",
        "https://ada:secret@keyferry.example.com",
        "https://keyferry.example.com#top",
        "ftp://keyferry.example.com",
        "keyferry.example.com",
        "https://",
        "https://keyferry.example.com\x00",
    ],
)
def test_a_public_address_is_https_and_has_no_path(key: Path, url: str) -> None:
    assert "KEYFERRY_PUBLIC_URL must be an https address without a path" in refusal(key, public_url=url)


@pytest.mark.parametrize("issuer", ["http://id.example.com", f"{ISSUER}?x=1", "id.example.com", f"{ISSUER}#x"])
def test_an_issuer_is_an_https_url(key: Path, issuer: str) -> None:
    text = refusal(key, oidc_issuer=issuer, session_key_file=str(key))
    assert "KEYFERRY_OIDC_ISSUER must be an https URL" in text


def test_an_issuer_needs_a_key_for_sign_ins(key: Path) -> None:
    assert "KEYFERRY_SESSION_KEY_FILE is not" in refusal(key, oidc_issuer=ISSUER)


def test_an_id_token_is_no_credential_for_the_api(key: Path) -> None:
    text = refusal(key, oidc_issuer=ISSUER, session_key_file=str(key), oidc_audience="same", oidc_client_id="same")
    assert "KEYFERRY_OIDC_AUDIENCE and KEYFERRY_OIDC_CLIENT_ID are the same" in text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("oidc_roles", "staff=king", "KEYFERRY_OIDC_ROLES: a role is one of"),
        ("oidc_roles", "staff=operator", "KEYFERRY_OIDC_ROLES: a role is one of"),
        ("oidc_tenants", "sales=No Tenant", "KEYFERRY_OIDC_TENANTS"),
        ("oidc_tenants", "sales=platform", "KEYFERRY_OIDC_TENANTS"),
        ("oidc_memberships", "0f3c=acme", "KEYFERRY_OIDC_MEMBERSHIPS"),
        ("oidc_memberships", "0f3c=platform:owner", "KEYFERRY_OIDC_MEMBERSHIPS"),
        ("oidc_memberships", "0f3c=acme:operator", "KEYFERRY_OIDC_MEMBERSHIPS"),
        ("oidc_tiers", "gold=golden", "KEYFERRY_OIDC_TIERS: a tier is one of"),
    ],
)
def test_a_mapping_names_what_there_is(key: Path, name: str, value: str, message: str) -> None:
    assert message in refusal(key, **{name: value})


@pytest.mark.parametrize("value", ["staff", "=admin", "staff=", "staff=admin,other"])
def test_a_mapping_is_written_in_pairs(key: Path, value: str) -> None:
    with pytest.raises(ValidationError, match="value=meaning"):
        settings(key, oidc_roles=value)


def test_a_mapping_is_read_up_to_its_last_equals_sign(key: Path) -> None:
    mapping = settings(
        key,
        oidc_roles="cn=staff=admin, boss=owner",
        oidc_tenants="Sales Dept=acme",
        oidc_memberships="0f3c=acme:viewer",
        oidc_tiers="gold=enterprise",
        oidc_operators="root, admin",
    ).claims_mapping()
    assert mapping.roles == {"cn=staff": AccessRole.ADMIN, "boss": AccessRole.OWNER}
    assert mapping.tenants == {"Sales Dept": "acme"}
    assert (mapping.memberships["0f3c"].tenant, mapping.memberships["0f3c"].role) == ("acme", AccessRole.VIEWER)
    assert mapping.tiers == {"gold": Tier.ENTERPRISE}
    assert mapping.operators == {"root", "admin"}
    default = settings(key).claims_mapping()
    assert default.roles == {f"keyferry-{role.value}": role for role in TENANT_ROLES}


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://127.0.0.1:8401"),
        ({"http_host": "0.0.0.0", "http_port": 9000}, "http://127.0.0.1:9000"),
        ({"http_host": "::"}, "http://[::1]:8401"),
        ({"public_url": "https://keyferry.example.com"}, "https://keyferry.example.com"),
    ],
)
def test_browsers_are_sent_to_an_address_that_they_can_open(key: Path, values: dict[str, object], url: str) -> None:
    assert settings(key, **values).browser_url() == url


@pytest.mark.parametrize(
    ("url", "session", "state", "secure"),
    [
        ("https://keyferry.example.com", "__Host-sid", "__Host-login", True),
        ("http://127.0.0.1:8401", "sid", "login", False),
    ],
)
def test_cookies_follow_the_public_address(key: Path, url: str, session: str, state: str, secure: bool) -> None:
    policy = CookiePolicy(secure=settings(key, public_url=url).browser_url().startswith("https://"))
    assert (policy.session, policy.state) == (session, state)
    parts = policy.render(policy.session, "value", 60).split("; ")
    assert parts[0] == f"{session}=value"
    assert {"Path=/", "Max-Age=60", "HttpOnly", "SameSite=Lax"} <= set(parts)
    assert ("Secure" in parts) is secure
    assert not any(part.lower().startswith("domain") for part in parts), "a __Host- cookie has no domain"
