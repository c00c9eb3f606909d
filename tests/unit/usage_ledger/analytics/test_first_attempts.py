"""A request counts once, under its first attempt, in whatever order and batches its attempts are recorded."""

import random

from hypothesis import given
from hypothesis import strategies as st

from services.usage_ledger.analytics.first_attempts import RecordedAttempt, weigh

attempts = st.lists(
    st.builds(
        RecordedAttempt,
        st.sampled_from(["acme", "globex"]),
        st.sampled_from(["r1", "r2", "r3"]),
        st.integers(1, 3),
        st.integers(0, 10**6).map(str),
    ),
    max_size=20,
    unique_by=lambda attempt: attempt.attempt_id,
)


@given(attempts, st.randoms(use_true_random=False), st.integers(1, 5))
def test_a_request_counts_under_its_first_attempt(
    recorded: list[RecordedAttempt], chance: random.Random, size: int
) -> None:
    shuffled = chance.sample(recorded, len(recorded))
    requests: dict[str, int] = {}
    weights: dict[str, int] = {}
    for start in range(0, len(shuffled), size):
        new, before = shuffled[start : start + size], shuffled[:start]
        ids = {attempt.request_id for attempt in new}
        for found in weigh(new, [attempt for attempt in before if attempt.request_id in ids]):
            requests[found.attempt_id] = requests.get(found.attempt_id, 0) + found.requests
            weights[found.attempt_id] = weights.get(found.attempt_id, 0) + found.weight
    firsts = {min(a for a in recorded if a[:2] == request).attempt_id for request in {a[:2] for a in recorded}}
    assert {attempt_id for attempt_id, number in requests.items() if number} == firsts
    assert set(requests.values()) <= {0, 1}
    assert weights == {attempt.attempt_id: 1 for attempt in recorded}
