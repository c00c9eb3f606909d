"""Credentials files: what is read back, and what is refused."""

import json
from pathlib import Path

import pytest

from keyferry.client import CannotConnect, connect_with_credentials
from keyferry.client.credentials import BadCredentials, generate, read
from keyferry.sealing.grant import parse_grant, signer_of
from keyferry.sealing.private_keys import verifying_key

URL = "nats://127.0.0.1:4222"


def write(path: Path, **changed: object) -> Path:
    content = json.loads(generate(URL, "acme", "crm").to_text().reveal()) | changed
    path.write_text(json.dumps(content))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = generate(URL, "acme", "crm")
    path = tmp_path / "crm.json"
    path.write_text(made.to_text().reveal())
    found = read(path)
    assert (found.nats_url, found.tenant, found.name, found.user) == (URL, "acme", "crm", "internal-client.acme.crm")
    assert (found.nkey_public, found.grant_public_key) == (made.nkey_public, made.grant_public_key)
    grant = signer_of(found.user, found.grant_private_key).sign("acme", "req_1", b"{}", now_unix_ms=1, lasts_ms=1)
    parsed = parse_grant(grant)
    verifying_key(made.grant_public_key).verify(parsed.signature, parsed.signed_bytes("acme", "req_1"))
    elsewhere = found.at("nats://other:4222")
    assert (elsewhere.nats_url, elsewhere.nkey_public) == ("nats://other:4222", made.nkey_public)


def test_unknown_fields_are_ignored(tmp_path: Path) -> None:
    assert read(write(tmp_path / "c.json", added_later=True)).name == "crm"


def test_no_two_credentials_share_a_key() -> None:
    one, other = generate(URL, "acme", "crm"), generate(URL, "acme", "crm")
    assert len({one.nkey_public, other.nkey_public, one.grant_public_key, other.grant_public_key}) == 4


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"keyferry_credentials": 2}, "its format is 2"),
        ({"nkey_seed": "SUAJKBQ"}, "is damaged"),
        ({"nkey_seed": ""}, "is damaged"),
        ({"nkey_seed": "\ud800"}, "."),
        ({"grant_private_key": "AAAA"}, "is damaged"),
        ({"grant_private_key": 7}, "grant_private_key"),
        ({"tenant": "a.b"}, "tenant"),
        ({"tenant": ">"}, "tenant"),
        ({"name": "crm\x00"}, "name"),
        ({"nats_url": "nats://x\n"}, "nats_url"),
    ],
)
def test_a_damaged_file_is_refused_without_repeating_it(tmp_path: Path, changed: dict[str, object], says: str) -> None:
    path = write(tmp_path / "c.json", **changed)
    with pytest.raises(BadCredentials) as caught:
        read(path)
    message = str(caught.value)
    assert says in message
    assert str(path) in message
    content = json.loads(path.read_text())
    for secret in (str(content["nkey_seed"]), str(content["grant_private_key"])):
        assert len(secret) < 4 or secret not in message


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"x" * 20_000, b"SUAAAA"])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(data)
    with pytest.raises(BadCredentials, match="holds no credentials of an internal service"):
        read(path)


async def test_a_program_without_its_file_gets_an_error(tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match="cannot be read: No such file"):
        async with connect_with_credentials(tmp_path / "missing.json"):
            pass


@pytest.mark.parametrize(("tenant", "name"), [("a.b", "crm"), ("acme", "*"), ("", "crm"), ("acme", "")])
def test_credentials_are_made_for_valid_names_only(tenant: str, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a client"):
        generate(URL, tenant, name)
