"""Every purpose that a transfer can have is decided on in statements, and what is not shows as `other`."""

from keyferry.contracts.accounts import GRANTED, PAYMENTS
from keyferry.contracts.statements import StatementEntryKind
from services.usage_ledger.accounts.transfer import TransferPurpose
from services.usage_ledger.statements.entry_kinds import ENTRY_KINDS, NOT_ENTRIES, entry_kind


def test_no_purpose_of_a_transfer_is_forgotten() -> None:
    purposes = {purpose.value for purpose in TransferPurpose}
    decided = ENTRY_KINDS.keys() | NOT_ENTRIES
    missing = purposes - decided
    assert not missing, f"add {missing} to ENTRY_KINDS, or to NOT_ENTRIES if it changes nothing of what a tenant has"
    assert not ENTRY_KINDS.keys() & NOT_ENTRIES


def test_credits_that_were_paid_for_are_purchases() -> None:
    assert entry_kind("grant", PAYMENTS) is StatementEntryKind.PURCHASE
    assert entry_kind("grant", GRANTED) is StatementEntryKind.GRANT


def test_a_purpose_of_a_later_build_is_shown_as_other() -> None:
    assert entry_kind("tithe", PAYMENTS) is StatementEntryKind.OTHER
