"""Client tokens are unique, have a checksum against typing errors, and are looked up by a keyed fingerprint."""

import hashlib
import hmac
import re
import string

from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts import client_token
from keyferry.contracts.secret import Secret

ALPHABET = string.digits + string.ascii_letters
MINTED = 10_000


def test_ten_thousand_tokens_differ_and_are_well_formed() -> None:
    tokens = {client_token.mint().reveal() for _ in range(MINTED)}
    assert len(tokens) == MINTED
    assert all(client_token.is_well_formed(token) for token in tokens)


def test_every_one_character_typo_is_detected() -> None:
    token = client_token.mint().reveal()
    typos = [
        token[:at] + other + token[at + 1 :] for at in range(len(token)) for other in ALPHABET if other != token[at]
    ]
    assert len(typos) == len(token) * len(ALPHABET) - sum(character in ALPHABET for character in token)
    assert not [typo for typo in typos if client_token.is_well_formed(typo)]


def test_swapped_lost_and_doubled_characters_are_detected() -> None:
    for token in (client_token.mint().reveal() for _ in range(50)):
        pairs = [at for at in range(len(token) - 1) if token[at] != token[at + 1]]
        swapped = [token[:at] + token[at + 1] + token[at] + token[at + 2 :] for at in pairs]
        lost = [token[:at] + token[at + 1 :] for at in range(len(token))]
        doubled = [token[:at] + token[at] + token[at:] for at in range(len(token))]
        assert not [typo for typo in (*swapped, *lost, *doubled) if client_token.is_well_formed(typo)]


def test_white_space_around_a_token_is_not_part_of_it() -> None:
    token = client_token.mint().reveal()
    assert not [text for text in (token + "\n", token + " ", " " + token, "") if client_token.is_well_formed(text)]


@given(st.text(max_size=80))
def test_random_text_is_not_a_token(text: str) -> None:
    assert not client_token.is_well_formed(text)


def test_non_ascii_look_alikes_are_rejected() -> None:
    token = client_token.mint().reveal()
    assert not client_token.is_well_formed(token[:-1] + "\N{ARABIC-INDIC DIGIT ONE}")


def test_a_secret_scanner_finds_a_token_in_a_text() -> None:
    token = client_token.mint().reveal()
    assert re.findall(f"({client_token.PATTERN})", f'key = "{token}";')[0][0] == token
    assert re.search(client_token.PATTERN, f"x{token}") is None


def test_the_digest_is_sha_256_of_the_token() -> None:
    assert client_token.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_fingerprint_is_a_keyed_hash_of_the_digest() -> None:
    digest = hashlib.sha256(b"token").hexdigest()
    expected = hmac.new(b"pepper", bytes.fromhex(digest), hashlib.sha256).hexdigest()
    assert client_token.fingerprint(digest, Secret("pepper")) == expected
    assert client_token.fingerprint(digest, Secret("another")) != expected
