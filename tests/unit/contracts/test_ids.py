"""Ids sort by time and are safe in a subject."""

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyferry.contracts import ids
from keyferry.contracts.tenancy import CreateTenant, Tier

PREFIXES = [ids.REQUEST, ids.ATTEMPT, ids.DECISION, ids.CLIENT_TOKEN, ids.INSTANCE, ids.SPOOL]
STAMPS = st.integers(min_value=0, max_value=2**48 - 1)
BAD_TENANTS = ["", "-a", "a-", "A", "a.b", "a b", "a*", ">", "ä", "a\n", "a_b", "a" * 64, "a/b", "$KV"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_an_id_is_one_subject_token(prefix: str) -> None:
    for _ in range(1000):
        assert re.fullmatch(rf"{prefix}_[0-9a-v]{{26}}", ids.new(prefix))


def test_ids_differ() -> None:
    assert len({ids.new(ids.REQUEST, unix_ms=0) for _ in range(10_000)}) == 10_000


@given(STAMPS, STAMPS)
def test_ids_sort_by_their_time(one: int, other: int) -> None:
    if one != other:
        assert (ids.new("x", unix_ms=one) < ids.new("x", unix_ms=other)) == (one < other)


@given(STAMPS)
def test_an_id_contains_a_version_7_uuid_with_its_time(stamp: int) -> None:
    found = ids.to_uuid(ids.new(ids.ATTEMPT, unix_ms=stamp))
    assert (found.version, found.variant, found.int >> 80) == (7, uuid.RFC_4122, stamp)


@pytest.mark.parametrize("text", ["", "req_", "req_abc", "req_" + "w" * 26, "req_" + "a" * 27])
def test_an_invalid_id_is_rejected(text: str) -> None:
    with pytest.raises(ValueError):
        ids.to_uuid(text)


@pytest.mark.parametrize("text", ["a", "acme", "acme-2", "0", "a" * 63])
def test_tenant_ids(text: str) -> None:
    assert ids.is_tenant_id(text)
    assert CreateTenant(tenant=text, name="x", tier=Tier.FREE).tenant == text


@pytest.mark.parametrize("text", BAD_TENANTS)
def test_invalid_tenant_ids(text: str) -> None:
    assert not ids.is_tenant_id(text)
    with pytest.raises(ValidationError):
        CreateTenant(tenant=text, name="x", tier=Tier.FREE)
