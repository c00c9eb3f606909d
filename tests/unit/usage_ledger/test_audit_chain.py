"""Every tampering with recorded audit entries is detected."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.audit import AuditEntry, AuditEvent, AuditHead, AuditOutcome, CommandChannel, CommandSource
from services.usage_ledger.audit_chain import BEGINNING, ChainCheck, digest, is_signed, sign
from services.usage_ledger.audit_checkpoint import (
    AuditCheckpoint,
    is_checkpoint_signed,
    next_checkpoint,
    sign_checkpoint,
)

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(b"a" * 32)
LENGTH = 40


def event(number: int, tenant: str = "acme") -> AuditEvent:
    return AuditEvent(
        event_id=f"aud_{number}",
        service="key-vault",
        sequence=number,
        tenant=tenant,
        actor="operator",
        action="key.lease",
        target=f"key_{number}",
        outcome=AuditOutcome.DONE,
        details={"worker": "provider-worker-1"},
        at=NOW + timedelta(seconds=number),
    )


def chained(length: int = LENGTH) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    previous = BEGINNING
    for position in range(1, length + 1):
        entry_digest = digest(position, previous, event(position))
        entries.append(
            AuditEntry(
                position=position, event=event(position), previous=previous, digest=entry_digest, recorded_at=NOW
            )
        )
        previous = entry_digest
    return entries


def head_of(entries: list[AuditEntry]) -> AuditHead:
    last = entries[-1]
    return sign(AuditHead(tenant="acme", position=last.position, digest=last.digest, at=NOW, signature=""), KEY)


def faults(entries: list[AuditEntry], head: AuditHead | None, start: AuditCheckpoint | None = None) -> list[str]:
    check = ChainCheck("acme", head, start)
    check.feed(entry for entry in entries if start is None or entry.position >= start.position)
    check.close(KEY.public_key())
    return check.faults


def rechained(entries: list[AuditEntry]) -> list[AuditEntry]:
    """Recompute every position and digest, as an attacker with the code and the table could."""
    previous, again = BEGINNING, []
    for position, entry in enumerate(entries, 1):
        entry_digest = digest(position, previous, entry.event)
        again.append(entry.model_copy(update={"position": position, "previous": previous, "digest": entry_digest}))
        previous = entry_digest
    return again


def edited(entries: list[AuditEntry], at: int) -> list[AuditEntry]:
    changed = entries[at].event.model_copy(update={"actor": "nobody"})
    return [*entries[:at], entries[at].model_copy(update={"event": changed}), *entries[at + 1 :]]


def removed(entries: list[AuditEntry], at: int) -> list[AuditEntry]:
    return [*entries[:at], *entries[at + 1 :]]


def swapped(entries: list[AuditEntry], at: int) -> list[AuditEntry]:
    other = (at + 1) % len(entries)
    copy = list(entries)
    copy[at], copy[other] = copy[other], copy[at]
    return copy


def cut(entries: list[AuditEntry], at: int) -> list[AuditEntry]:
    return entries[:at]


TAMPERING: list[Callable[[list[AuditEntry], int], list[AuditEntry]]] = [edited, removed, swapped, cut]


OTHER_VALUES: dict[str, object] = {
    "event_id": "aud_other",
    "service": "console",
    "sequence": 1000,
    "tenant": "other",
    "actor": "nobody",
    "action": "key.delete",
    "target": "key_other",
    "outcome": AuditOutcome.REFUSED,
    "details": {"worker": "provider-worker-2"},
    "source": CommandSource(channel=CommandChannel.API, address="10.0.0.1", request_id="req_1"),
    "at": NOW,
}


@pytest.mark.parametrize("name", AuditEvent.model_fields)
def test_a_digest_covers_every_field_of_an_event(name: str) -> None:
    changed = event(1).model_copy(update={name: OTHER_VALUES[name]})
    assert digest(1, BEGINNING, changed) != digest(1, BEGINNING, event(1))
    entries = chained(3)
    entries[0] = entries[0].model_copy(update={"event": changed})
    assert faults(entries, head_of(entries)) == ["acme: entry 1 was changed"]


def test_digests_and_signatures_stay_what_they_are() -> None:
    """Stored chains have to verify under every later build: these values never change."""
    first = digest(1, BEGINNING, event(1))
    assert first == "186510e9e40db4e2f292c6736d5afe662569ebe3517b80c3d0f7356aafec37f5"
    assert digest(2, first, event(2)) == "b677f9fbd8ffc74ed18f227d7d355b02022eba25809a10dbf060a1ae39078eb1"
    head = sign(AuditHead(tenant="acme", position=2, digest=first, at=NOW, signature=""), KEY)
    assert head.signature == "DNuD9gq_AgWbAiaPYJd8fO5Ps2uvWlutUdw-bj8rfY6F6ufvced8pyWALIchehlsLVCvtDQAa40Vn6B7D0oDBA"


def test_each_fault_says_where_the_chain_breaks() -> None:
    entries = chained(4)
    head = head_of(entries)
    assert faults(removed(entries, 1), head) == [
        "acme: entries are missing or out of order between 1 and 3",
        "acme: entry 3 does not follow the one before it",
    ]
    assert faults(cut(entries, 2), head) == ["acme: cut off: it ends at 2, and 4 was signed"]
    other = [*entries[:3], *rechained(edited(entries, 3))[3:]]
    assert faults(other, head) == ["acme: entry 4 is not the one that was signed"]
    forged = head.model_copy(update={"signature": "AA"})
    assert faults(entries, forged) == ["acme: its signed head was forged"]
    foreign = sign(head.model_copy(update={"tenant": "other", "signature": ""}), KEY)
    assert faults(entries, foreign) == ["acme: its signed head was forged"]


def test_a_digest_covers_the_position_and_the_digest_before() -> None:
    assert digest(2, BEGINNING, event(1)) != digest(1, BEGINNING, event(1))
    assert digest(1, "1" * 64, event(1)) != digest(1, BEGINNING, event(1))


def test_an_event_of_another_tenant_does_not_belong_in_a_chain() -> None:
    """Behind the signed head the digests alone do not show that an entry was moved there and recomputed."""
    entries = chained(3)
    foreign = entries[2].model_copy(update={"event": event(3, tenant="other")})
    assert faults(rechained([*entries[:2], foreign]), head_of(entries[:2])) == ["acme: entry 3 was changed"]


def test_an_untouched_audit_verifies() -> None:
    entries = chained()
    assert faults(entries, head_of(entries)) == []
    assert faults(entries, head_of(entries[:-3])) == [], "a head may lag behind the table"


@pytest.mark.parametrize("tamper", TAMPERING)
def test_every_tampering_is_detected_at_every_position(
    tamper: Callable[[list[AuditEntry], int], list[AuditEntry]],
) -> None:
    entries = chained()
    for at in range(LENGTH):
        assert faults(tamper(entries, at), head_of(entries)), f"{tamper.__name__} at {at} was not detected"


@pytest.mark.parametrize("tamper", TAMPERING)
def test_a_recomputed_chain_is_detected(tamper: Callable[[list[AuditEntry], int], list[AuditEntry]]) -> None:
    entries = chained()
    for at in range(LENGTH):
        forged = rechained(tamper(entries, at))
        assert faults(forged, head_of(entries)), f"{tamper.__name__} at {at}, recomputed, was not detected"


def test_a_cut_is_detected_only_by_the_signed_head() -> None:
    """With the head taken from the table itself, a truncated chain would verify: the signed head is the defence."""
    entries = chained()
    shorter = entries[:-5]
    assert faults(shorter, head_of(shorter)) == []
    assert faults(shorter, head_of(entries)) != []
    assert faults(entries, None) == ["acme: its signed head is missing"]


def test_a_changed_head_has_no_valid_signature() -> None:
    head = head_of(chained())
    assert is_signed(head, KEY.public_key())
    chance = random.Random(3)
    for change in (
        {"position": 1},
        {"digest": "0" * 64},
        {"tenant": "other"},
        {"at": NOW + timedelta(1)},
        {"signature": "AA"},
    ):
        assert not is_signed(head.model_copy(update=change), KEY.public_key())
    other = Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    assert not is_signed(head, other.public_key())


def checkpoint_at(entries: list[AuditEntry], position: int) -> AuditCheckpoint:
    entry = entries[position - 1]
    return sign_checkpoint(AuditCheckpoint("acme", position, entry.digest, NOW), KEY)


@given(
    st.sampled_from(TAMPERING),
    st.integers(1, LENGTH),
    st.integers(0, LENGTH - 1),
    st.booleans(),
)
def test_from_a_checkpoint_every_tampering_with_it_or_behind_it_is_detected(
    tamper: Callable[[list[AuditEntry], int], list[AuditEntry]], verified: int, at: int, recomputed: bool
) -> None:
    entries = chained()
    start = checkpoint_at(entries, verified)
    at = max(at, verified - 1)
    if tamper is swapped and at == LENGTH - 1:
        return  # it swaps the last with the first, which was verified before
    changed = tamper(entries, at)
    changed = [*changed[: verified - 1], *rechained(changed)[verified - 1 :]] if recomputed else changed
    assert faults(entries, head_of(entries), start) == []
    assert faults(changed, head_of(entries), start), f"{tamper.__name__} at {at} was not detected"
    assert faults(changed, head_of(entries)), "and a full verification detects it, too"


@given(st.integers(2, LENGTH), st.integers(0, LENGTH - 2))
def test_only_a_full_verification_detects_an_edit_before_the_checkpoint(verified: int, at: int) -> None:
    entries = chained()
    changed = edited(entries, min(at, verified - 2))
    assert faults(changed, head_of(entries), checkpoint_at(entries, verified)) == []
    assert faults(changed, head_of(entries)) != []


@pytest.mark.parametrize("head_position", [10, 20, 30])
def test_a_head_may_be_before_or_behind_the_checkpoint(head_position: int) -> None:
    entries = chained()
    assert faults(entries, head_of(entries[:head_position]), checkpoint_at(entries, 20)) == []


def test_an_entry_that_cannot_be_read_was_changed() -> None:
    entries = chained(3)
    check = ChainCheck("acme", head_of(entries))
    for entry in entries:
        check.check(entry.position, None if entry.position == 2 else entry)
    check.close(KEY.public_key())
    assert check.faults == ["acme: entry 2 was changed: it cannot be read"]


def test_nobody_moves_a_checkpoint() -> None:
    checkpoint = checkpoint_at(chained(3), 2)
    assert is_checkpoint_signed(checkpoint, KEY.public_key())
    for change in ({"position": 3}, {"tenant": "other"}, {"digest": "0" * 64}, {"full_at": NOW + timedelta(1)}):
        assert not is_checkpoint_signed(replace(checkpoint, **change), KEY.public_key())
    for signature in ("", "AA", "\x00", "é", head_of(chained(2)).signature):
        assert not is_checkpoint_signed(replace(checkpoint, signature=signature), KEY.public_key())


def test_the_next_checkpoint_is_the_signed_head() -> None:
    entries = chained(5)
    head = head_of(entries)
    later = NOW + timedelta(days=1)
    assert next_checkpoint(None, None, later) is None
    assert next_checkpoint(head, None, later) == AuditCheckpoint("acme", 5, entries[4].digest, later)
    assert next_checkpoint(head, checkpoint_at(entries, 3), later) == AuditCheckpoint("acme", 5, entries[4].digest, NOW)
    assert next_checkpoint(head, checkpoint_at(entries, 5), later) is None, "it stays as it is"
