"""Tokens that are verified, and those that are not: each attack differs from a good token in one thing."""

import time
from collections.abc import AsyncIterator

import pytest

from keyferry.contracts.secret import Secret
from services.console.sign_in.identity_provider import KEYS_SECONDS, UNKNOWN_KEY_SECONDS, IdentityProvider
from services.console.sign_in.provider_client import ProviderClient
from services.console.sign_in.token_verification import (
    LEEWAY_SECONDS,
    MAX_TOKEN_CHARACTERS,
    InvalidToken,
    TokenPolicy,
    TokenUse,
)
from tests.support.oidc.provider_double import AUDIENCE, CLIENT, CLIENT_SECRET, ProviderDouble, new_key, provider_double
from tests.support.oidc.token_attacks import ACCESS_ONLY, COMMON, ID_ONLY, without_header

NONCE = "the-nonce-of-this-browser"


class Verifier:
    """A provider's double, and the console's view of it under a clock that the test moves."""

    def __init__(self, double: ProviderDouble) -> None:
        self.double = double
        self.seconds = 1000.0
        self.client = ProviderClient(CLIENT, Secret(CLIENT_SECRET))
        self.provider = IdentityProvider(
            double.issuer, self.client, monotonic=lambda: self.seconds, now=lambda: time.time() + self.seconds - 1000
        )

    def policy(self, use: TokenUse) -> TokenPolicy:
        if use is TokenUse.ID:
            return TokenPolicy(use, self.double.issuer, CLIENT, NONCE)
        return TokenPolicy(use, self.double.issuer, AUDIENCE)

    def claims(self, use: TokenUse) -> dict[str, object]:
        if use is TokenUse.ID:
            return self.double.id_claims("ada", NONCE)
        return self.double.access_claims("robot") | {"aud": AUDIENCE}

    async def verify(self, token: str, use: TokenUse) -> str:
        return str((await self.provider.verify(token, self.policy(use)))["sub"])

    async def outcome(self, token: str, use: TokenUse) -> str | InvalidToken:
        try:
            return await self.verify(token, use)
        except InvalidToken as error:
            return error


@pytest.fixture
async def verifier() -> AsyncIterator[Verifier]:
    async with provider_double(ada={}, robot={}) as double:
        found = Verifier(double)
        async with found.client:
            yield found


@pytest.mark.parametrize("use", list(TokenUse))
async def test_no_attack_passes_and_the_good_token_does(verifier: Verifier, use: TokenUse) -> None:
    attacks = {**COMMON, **(ID_ONLY if use is TokenUse.ID else ACCESS_ONLY)}
    assert len(attacks) >= 90
    for name, attack in attacks.items():
        claims = verifier.claims(use)
        good = verifier.double.sign(claims)
        token = attack(verifier.double, claims)
        assert token != good
        outcome = await verifier.outcome(token, use)
        assert isinstance(outcome, InvalidToken), f"{name}: {outcome}"
        assert "attacker" not in str(outcome), "the message repeats nothing of the token"
        assert await verifier.verify(good, use) == claims["sub"], name


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_each_algorithm_of_the_list_is_verified(verifier: Verifier, algorithm: str) -> None:
    verifier.double.rotate(algorithm)
    for use in TokenUse:
        claims = verifier.claims(use)
        assert await verifier.verify(verifier.double.sign(claims), use) == claims["sub"]


async def test_clocks_may_differ_by_the_leeway(verifier: Verifier) -> None:
    now = int(time.time())
    fine = {"exp": now - LEEWAY_SECONDS + 30, "nbf": now + LEEWAY_SECONDS - 10, "iat": now + LEEWAY_SECONDS - 10}
    assert await verifier.verify(verifier.double.sign(verifier.claims(TokenUse.ID) | fine), TokenUse.ID) == "sub-ada"
    assert LEEWAY_SECONDS <= 60


async def test_types_and_audiences_that_providers_use_are_accepted(verifier: Verifier) -> None:
    sign = verifier.double.sign
    access, identity = verifier.claims(TokenUse.ACCESS), verifier.claims(TokenUse.ID)
    for kind in ("at+jwt", "application/at+jwt", "JWT", None):
        assert await verifier.verify(sign(access, typ=kind), TokenUse.ACCESS) == "sub-robot"
    several = identity | {"aud": [CLIENT, "account"]}
    assert await verifier.verify(sign(several), TokenUse.ID) == "sub-ada"
    untyped = {name: value for name, value in identity.items() if name not in ("typ", "azp")}
    assert await verifier.verify(sign(untyped, typ=None), TokenUse.ID) == "sub-ada"


async def test_a_token_without_kid_is_verified_by_the_only_key_of_its_algorithm(verifier: Verifier) -> None:
    claims = verifier.claims(TokenUse.ID)
    token = without_header("kid")(verifier.double, claims)
    assert await verifier.verify(token, TokenUse.ID) == "sub-ada"
    verifier.double.published.append(new_key("RS256", "other", owner="other"))
    verifier.seconds += KEYS_SECONDS
    later = verifier.claims(TokenUse.ID) | {"exp": time.time() + KEYS_SECONDS + 300}
    with pytest.raises(InvalidToken, match="no such key"):
        await verifier.verify(without_header("kid")(verifier.double, later), TokenUse.ID)
    assert await verifier.verify(verifier.double.sign(later), TokenUse.ID) == "sub-ada"


async def test_the_first_token_of_a_rotated_key_is_accepted_with_one_fetch(verifier: Verifier) -> None:
    claims = verifier.claims(TokenUse.ID)
    assert await verifier.verify(verifier.double.sign(claims), TokenUse.ID)
    assert verifier.double.count("/certs") == 1
    verifier.double.rotate()
    assert await verifier.verify(verifier.double.sign(claims), TokenUse.ID)
    assert verifier.double.count("/certs") == 2


async def test_invented_keys_are_looked_for_once_a_minute(verifier: Verifier) -> None:
    claims = verifier.claims(TokenUse.ID)
    assert await verifier.verify(verifier.double.sign(claims), TokenUse.ID)
    for number in range(50):
        stranger = new_key("ES256", f"invented-{number}")
        with pytest.raises(InvalidToken, match="no such key"):
            await verifier.verify(verifier.double.sign(claims, key=stranger), TokenUse.ID)
    assert verifier.double.count("/certs") == 2
    verifier.seconds += UNKNOWN_KEY_SECONDS
    verifier.double.rotate()
    assert await verifier.verify(verifier.double.sign(claims), TokenUse.ID), "a real one is found in the next minute"
    assert verifier.double.count("/certs") == 3


async def test_a_withdrawn_key_is_refused_after_the_next_fetch(verifier: Verifier) -> None:
    claims = verifier.claims(TokenUse.ID)
    old = verifier.double.signing
    assert await verifier.verify(verifier.double.sign(claims), TokenUse.ID)
    verifier.double.rotate(keep=False)
    assert await verifier.verify(verifier.double.sign(claims), TokenUse.ID)
    with pytest.raises(InvalidToken):
        await verifier.verify(verifier.double.sign(claims, key=old), TokenUse.ID)


async def test_too_long_a_token_is_not_even_read(verifier: Verifier) -> None:
    with pytest.raises(InvalidToken, match="longer than"):
        await verifier.verify("a" * (MAX_TOKEN_CHARACTERS + 1), TokenUse.ID)
    assert verifier.double.requests == []
