"""A packed decision holds every reason, takes little space, and is never read wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.route import Candidate, DecisionRecord, DropReason
from keyferry.contracts.usage import KeySource
from services.usage_ledger.decision_dictionary import DICTIONARY_1
from services.usage_ledger.decision_packing import DamagedRecord, compress, decompress, document_of, skipped_of
from tests.support.ledger.attempt_records import decision_record

REASONS = st.sampled_from(DropReason)
TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=200)
SOURCES = st.sampled_from(KeySource)
CANDIDATES = st.builds(
    Candidate,
    provider=st.sampled_from(["openai", "anthropic", "custom"]),
    model=TEXTS,
    key_source=SOURCES,
    kept=st.booleans(),
    reason=st.none() | REASONS,
    detail=TEXTS,
)


def row_of(record: DecisionRecord) -> dict[str, object]:
    columns = ("decision_id", "request_id", "tenant", "decided_at")
    return {"packed": compress(record), "record": None} | {name: getattr(record, name) for name in columns}


@given(st.lists(CANDIDATES, max_size=20), st.dictionaries(st.sampled_from(["a", "b"]), TEXTS, max_size=2))
def test_a_record_is_read_as_it_was(candidates: list[Candidate], tags: dict[str, str]) -> None:
    refusal = Failure(failure_class=FailureClass.POLICY, message="not allowed", where=Where.GATEWAY)
    record = decision_record(candidates=candidates, tags=tags, refusal=refusal, traceparent="00-a-b-01")
    assert DecisionRecord.model_validate(document_of(row_of(record))) == record


def test_the_reasons_of_a_usual_decision_take_little_space() -> None:
    detail = "there is no key for Azure OpenAI: add one with `keyferry keys add --provider azure --tenant acme`"
    dropped = Candidate(
        provider="azure",
        model="gpt-4o-mini",
        key_source=KeySource.BYOK,
        kept=False,
        reason=DropReason.NO_KEY,
        detail=detail,
    )
    record = decision_record(candidates=[dropped, *decision_record().candidates])
    assert len(record.encode()) > 600
    assert len(compress(record)) < 120


def test_the_dictionary_is_the_one_that_rows_were_packed_with() -> None:
    """A row of an earlier day: a change of the dictionary would make it unreadable."""
    assert len(DICTIONARY_1) == 16_000
    packed = bytes.fromhex(EARLIER_ROW)
    assert decompress(packed)["candidates"] == [
        {
            "provider": "echo",
            "model": "echo",
            "key_source": "none",
            "kept": True,
            "detail": "the built-in echo",
            "delay_ms": 0,
        }
    ]


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00", b"\x02abc", b"\x01", b"\x01\xff\xff", compress(decision_record())[:-3]]
)
def test_damaged_bytes_are_refused(damaged: bytes) -> None:
    with pytest.raises(DamagedRecord):
        decompress(damaged)


def test_candidates_that_were_skipped_as_unhealthy_have_a_column() -> None:
    def dropped(reason: DropReason) -> Candidate:
        return Candidate(
            provider="openai",
            model="m",
            key_source=KeySource.BYOK,
            key_id="key_1",
            kept=False,
            reason=reason,
            detail="x",
        )

    record = decision_record(candidates=[dropped(DropReason.UNHEALTHY), dropped(DropReason.NO_KEY)])
    found = skipped_of(record)
    assert found == {"candidates": [{"provider": "openai", "model": "m", "key_source": "byok", "reason": "unhealthy"}]}
    assert skipped_of(decision_record()) is None


EARLIER_ROW = "01ab2679d60e9ce7104517d9ebb80ca899d3b144084a9ec61de206b1e406692d00"
