"""Grants: only what was signed is accepted, by a known signer, for its own tenant, and until its end."""

import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role, internal_client, users
from keyferry.sealing.framing import to_base64
from keyferry.sealing.grant import (
    MAX_CHARACTERS,
    MAX_VALID_MS,
    Grant,
    GrantSigner,
    MalformedGrant,
    UnusableGrantKey,
    hmac_of,
    parse_grant,
    signed_bytes,
    signer_of,
)
from keyferry.sealing.grant_check import GrantedRequest, GrantKey, InvalidGrant, verify_grant
from keyferry.sealing.registration import MAX_SKEW_MS
from tests.support.vault.grants import BODY, INGRESS, OPERATOR, PROGRAM, Granting, new_key

NOW = 1_900_000_000_000
REQUEST = GrantedRequest("acme", "req_1")
GRANTING = Granting()
SIGNERS = (INGRESS, OPERATOR, PROGRAM)


def granted(user: str = INGRESS, lasts_ms: int = 60_000) -> str:
    return GRANTING.grant(REQUEST.tenant, REQUEST.request_id, user=user, now_unix_ms=NOW, lasts_ms=lasts_ms)


def verified(text: str, request: GrantedRequest = REQUEST, now: int = NOW) -> Grant:
    return verify_grant(text, request, GRANTING.key_of, now)


def refused(text: str, request: GrantedRequest = REQUEST, now: int = NOW) -> str:
    with pytest.raises(InvalidGrant) as caught:
        verified(text, request, now)
    return str(caught.value)


def written(grant: Grant) -> str:
    parts = (grant.signer, str(grant.end_unix_ms), to_base64(grant.body_sha256), to_base64(grant.signature))
    return ":".join(("v1", *parts))


@pytest.mark.parametrize("user", SIGNERS)
def test_a_grant_is_one_short_line_that_its_signer_s_key_verifies(user: str) -> None:
    text = granted(user)
    grant = verified(text)
    assert (grant.signer, grant.end_unix_ms) == (user, NOW + 60_000)
    assert grant.covers(BODY)
    assert not grant.covers(BODY + b" ")
    assert not grant.covers(b"")
    assert text == written(grant)
    assert re.fullmatch(r"[!-~]+", text)
    assert len(text) < MAX_CHARACTERS


def test_the_longest_name_of_a_program_fits() -> None:
    user = internal_client("a" * 63, "b" * 63)
    text = signer_of(user, new_key()).sign("a" * 63, "r" * 200, BODY, now_unix_ms=NOW, lasts_ms=1)
    assert len(text) <= MAX_CHARACTERS
    assert parse_grant(text).signer == user


@pytest.mark.parametrize("user", SIGNERS)
def test_every_part_counts(user: str) -> None:
    grant = parse_grant(granted(user))
    others = {
        "end": replace(grant, end_unix_ms=grant.end_unix_ms + 1),
        "body": replace(grant, body_sha256=bytes([grant.body_sha256[0] ^ 1]) + grant.body_sha256[1:]),
        "signature": replace(grant, signature=bytes([grant.signature[0] ^ 1]) + grant.signature[1:]),
        "shorter signature": replace(grant, signature=grant.signature[:-1]),
        "no signature": replace(grant, signature=b""),
    }
    for other in SIGNERS:
        if other != user:
            others[f"signer {other}"] = replace(grant, signer=other)
    for what, changed in others.items():
        assert "has not signed for the request req_1 of acme" in refused(written(changed)), what
    for request in (GrantedRequest("acme", "req_2"), GrantedRequest("acme2", "req_1"), GrantedRequest("", "acmereq_1")):
        assert refused(granted(user), request)


@given(st.binary(min_size=1, max_size=300), st.data())
def test_no_changed_character_is_accepted(noise: bytes, data: st.DataObject) -> None:
    text = granted(data.draw(st.sampled_from(SIGNERS)))
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters(exclude_characters=text[place], exclude_categories=["Cs"]))
    refused(text[:place] + other + text[place + 1 :])
    refused(text[:place] + text[place + 1 :])
    refused(noise.decode("latin-1"))


@given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6), st.binary(max_size=6)), min_size=2, max_size=2))
def test_different_requests_never_have_the_same_signed_bytes(
    requests: list[tuple[str, str, bytes]],
) -> None:
    one, other = (signed_bytes(INGRESS, tenant, request, digest, NOW) for tenant, request, digest in requests)
    assert (one == other) == (requests[0] == requests[1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":" * 4,
        "v1",
        "v2:ingress:1:AAAA:AAAA",
        "v1:ingress:1:AAAA",
        "v1:ingress:1:AAAA:AAAA:AAAA",
        "v1:ingress:-1:AAAA:AAAA",
        "v1:ingress:01:AAAA:AAAA",
        "v1:ingress:1.0:AAAA:AAAA",
        "v1:ingress:\N{ARABIC-INDIC DIGIT ONE}:AAAA:AAAA",
        f"v1:ingress:{'9' * 30}:AAAA:AAAA",
        f"v1:ingress:1:{to_base64(bytes(31))}:AAAA",
        f"v1:ingress:1:{to_base64(bytes(33))}:AAAA",
        f"v1:ingress:1:{to_base64(bytes(32))}:A",
        f"v1:ingress:1:{to_base64(bytes(32))}=:AAAA",
        "v1:ingress:1:\x00:AAAA",
        "v1:ingress\n:1:AAAA:AAAA",
        "\ud800",
        "v" * (MAX_CHARACTERS + 1),
    ],
)
def test_what_is_no_grant_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(MalformedGrant) as caught:
        parse_grant(text)
    message = str(caught.value)
    assert message.isascii()
    assert message.isprintable()
    assert refused(text) == message


@pytest.mark.parametrize(
    "user", ["", "router", "provider-worker-1", "internal-client.acme.other", "ingress ", "INGRESS"]
)
def test_an_unknown_signer_is_refused(user: str) -> None:
    forged = GrantSigner(user, lambda data: bytes(32)).sign("acme", "req_1", BODY, now_unix_ms=NOW, lasts_ms=1000)
    assert "nobody signs grants under the name" in refused(forged)


def test_a_program_signs_for_its_own_tenant_only() -> None:
    text = GRANTING.grant("globex", "req_1", user=PROGRAM, now_unix_ms=NOW)
    assert "signs for requests of its own tenant only" in refused(text, GrantedRequest("globex", "req_1"))


def test_the_signers_role_decides_the_algorithm() -> None:
    """The public half of a program's key is no secret, so nobody may use it as one."""
    public = GRANTING.program.public_key().public_bytes_raw()
    forger = signer_of(INGRESS, Secret(to_base64(public)))
    text = forger.sign("acme", "req_1", BODY, now_unix_ms=NOW, lasts_ms=1000)
    assert "has not signed" in refused(text)
    digest = parse_grant(text).body_sha256
    confused = GrantSigner(PROGRAM, lambda data: hmac_of(public, data))
    forged = confused.sign("acme", "req_1", BODY, now_unix_ms=NOW, lasts_ms=1000)
    assert parse_grant(forged).body_sha256 == digest
    assert "has not signed" in refused(forged)
    signed = GrantSigner(INGRESS, Ed25519PrivateKey.generate().sign)
    assert "has not signed" in refused(signed.sign("acme", "req_1", BODY, now_unix_ms=NOW, lasts_ms=1000))


@pytest.mark.parametrize(("lasts_ms", "late_ms"), [(0, 0), (0, MAX_SKEW_MS), (5000, 5000 + MAX_SKEW_MS)])
def test_a_grant_lasts_until_its_end_and_as_long_as_clocks_may_differ(lasts_ms: int, late_ms: int) -> None:
    text = granted(lasts_ms=lasts_ms)
    verified(text, now=NOW + late_ms)
    ended = refused(text, now=NOW + lasts_ms + MAX_SKEW_MS + 1)
    assert ended == f"the request req_1 ended {MAX_SKEW_MS + 1} ms ago, and its grant with it"


def test_no_grant_lasts_longer_than_an_hour() -> None:
    assert parse_grant(granted(lasts_ms=10 * MAX_VALID_MS)).end_unix_ms == NOW + MAX_VALID_MS
    verified(granted(lasts_ms=MAX_VALID_MS), now=NOW - MAX_SKEW_MS)
    early = refused(granted(lasts_ms=MAX_VALID_MS), now=NOW - MAX_SKEW_MS - 1)
    assert "check that the clocks agree" in early


@pytest.mark.parametrize("user", users(1))
def test_only_those_who_take_requests_in_can_sign(user: str) -> None:
    if user in (Role.INGRESS, Role.OPERATOR):
        assert signer_of(user, new_key()).signer == user
        return
    with pytest.raises(UnusableGrantKey, match="signs no grants"):
        signer_of(user, new_key())


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!", to_base64(bytes(31)), to_base64(bytes(33))])
def test_an_unusable_key_is_named_and_not_repeated(key: str) -> None:
    with pytest.raises(UnusableGrantKey) as caught:
        signer_of(INGRESS, Secret(key))
    assert not key or key not in str(caught.value)


def test_a_signer_shows_no_key() -> None:
    key = new_key()
    for user in (INGRESS, PROGRAM):
        assert key.reveal() not in repr(signer_of(user, key))


def test_without_the_check_of_the_signature_a_forged_grant_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    forged = GrantSigner(INGRESS, lambda data: bytes(32)).sign("acme", "req_1", BODY, now_unix_ms=NOW, lasts_ms=1000)
    refused(forged)
    accept_all: object = lambda grant, key, signed: True  # noqa: E731
    monkeypatch.setattr("keyferry.sealing.grant_check._is_signed", accept_all)
    keys: dict[str, GrantKey] = {INGRESS: new_key()}
    assert verify_grant(forged, REQUEST, keys.get, NOW).signer == INGRESS
