"""The transit double, tested with the client library for the real engine."""

import base64
from collections.abc import Iterator

import hvac  # type: ignore[import-untyped]
import pytest
from hvac.exceptions import (  # type: ignore[import-untyped]
    Forbidden,
    InvalidPath,
    InvalidRequest,
    VaultDown,
)

from tests.contract.kek_providers.transit_double import TransitDouble, transit_double

PLAINTEXT = base64.b64encode(b"a data key").decode()
TENANT, OTHER = base64.b64encode(b"acme").decode(), base64.b64encode(b"other").decode()


@pytest.fixture
def double() -> Iterator[TransitDouble]:
    with transit_double() as double:
        yield double


@pytest.fixture
def transit(double: TransitDouble) -> Iterator["hvac.api.secrets_engines.Transit"]:
    client = hvac.Client(url=double.url, token=double.token)
    client.secrets.transit.create_key(name="keyferry")
    yield client.secrets.transit
    client.adapter.close()


def test_ciphertext_decrypts_with_the_same_associated_data(transit: "hvac.api.secrets_engines.Transit") -> None:
    ciphertext = transit.encrypt_data("keyferry", PLAINTEXT, associated_data=TENANT)["data"]["ciphertext"]
    assert ciphertext.startswith("vault:v1:")
    assert transit.decrypt_data("keyferry", ciphertext, associated_data=TENANT)["data"]["plaintext"] == PLAINTEXT
    for data in (OTHER, None):
        with pytest.raises(InvalidRequest, match="message authentication failed"):
            transit.decrypt_data("keyferry", ciphertext, associated_data=data)


def test_rotation_adds_a_version_and_keeps_the_former_ones(transit: "hvac.api.secrets_engines.Transit") -> None:
    old = transit.encrypt_data("keyferry", PLAINTEXT)["data"]["ciphertext"]
    transit.rotate_key("keyferry")
    facts = transit.read_key("keyferry")["data"]
    assert (facts["latest_version"], facts["min_decryption_version"], facts["type"]) == (2, 1, "aes256-gcm96")
    assert transit.encrypt_data("keyferry", PLAINTEXT)["data"]["ciphertext"].startswith("vault:v2:")
    assert transit.decrypt_data("keyferry", old)["data"]["plaintext"] == PLAINTEXT
    assert transit.rewrap_data("keyferry", old)["data"]["ciphertext"].startswith("vault:v2:")
    transit.update_key_configuration("keyferry", min_decryption_version=2)
    with pytest.raises(InvalidRequest, match="too old"):
        transit.decrypt_data("keyferry", old)


def test_engine_does_not_re_encrypt_with_associated_data(transit: "hvac.api.secrets_engines.Transit") -> None:
    ciphertext = transit.encrypt_data("keyferry", PLAINTEXT, associated_data=TENANT)["data"]["ciphertext"]
    with pytest.raises(InvalidRequest, match="message authentication failed"):
        transit.rewrap_data("keyferry", ciphertext)


def test_missing_key_is_refused_as_the_engine_does(
    transit: "hvac.api.secrets_engines.Transit",
) -> None:
    with pytest.raises(InvalidRequest, match="encryption key not found"):
        transit.encrypt_data("unknown", PLAINTEXT)
    with pytest.raises(InvalidPath):
        transit.read_key("unknown")
    with pytest.raises(InvalidRequest, match="deletion is not allowed"):
        transit.delete_key("keyferry")
    transit.update_key_configuration("keyferry", deletion_allowed=True)
    transit.delete_key("keyferry")
    with pytest.raises(InvalidPath):
        transit.read_key("keyferry")


def test_forbidden_call_is_refused(double: TransitDouble) -> None:
    client = hvac.Client(url=double.url, token="hvs.another")
    with pytest.raises(Forbidden, match="permission denied"):
        client.secrets.transit.read_key("keyferry")
    double.sealed = True
    with pytest.raises(VaultDown):
        client.secrets.transit.read_key("keyferry")
    client.adapter.close()
