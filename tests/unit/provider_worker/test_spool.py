"""The spool keeps every attempt until the ledger has confirmed it, through any crash of the process."""

import errno
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from keyferry.contracts.usage import AttemptRecord, KeySource, Outcome
from services.provider_worker import spool as spool_module
from services.provider_worker.spool import REPUBLISH, Spool, SpooledResult, SpoolLocked

NOW = 1000.0


def record(seq: int, outcome: Outcome = Outcome.INDETERMINATE, **changes: object) -> AttemptRecord:
    return AttemptRecord.model_validate(
        {
            "attempt_id": f"att_{seq}",
            "request_id": f"req_{seq}",
            "decision_id": "dec_1",
            "attempt_number": 1,
            "tenant": "acme",
            "provider": "echo",
            "model_asked": "echo",
            "model": "echo",
            "key_source": KeySource.NONE,
            "stream": False,
            "outcome": outcome,
            "started_at": datetime(2026, 1, 1, tzinfo=UTC),
            "latency_ms": 0,
            "worker_id": "provider-worker-1",
            "spool_seq": seq,
        }
        | changes
    )


def open_spool(path: Path) -> Spool:
    spool = Spool(path)
    spool.open()
    return spool


def attempt(spool: Spool) -> int:
    seq = spool.next_seq()
    spool.record_intent(record(seq))
    return seq


def left_behind(path: Path) -> dict[int, AttemptRecord]:
    """What a new process finds, by sequence number."""
    spool = open_spool(path)
    try:
        records = [AttemptRecord.decode(one.line) for one in spool.due(NOW, at_most=1000)]
        assert len({found.spool_seq for found in records}) == len(records)
        return {found.spool_seq: found for found in records}
    finally:
        spool.close()


def test_an_intent_without_a_result_is_found_as_indeterminate(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    seq = attempt(spool)
    spool.close()
    assert left_behind(tmp_path)[seq].outcome is Outcome.INDETERMINATE


def test_a_result_replaces_its_intent(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    seq = attempt(spool)
    spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    spool.close()
    assert left_behind(tmp_path)[seq].outcome is Outcome.COMPLETED


def test_only_ended_attempts_of_this_spool_are_confirmed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    running, done = attempt(spool), attempt(spool)
    spool.record_result(record(done, Outcome.COMPLETED), NOW)
    spool.confirm("spl_of_another_life", [running, done])
    assert spool.unconfirmed == 1
    spool.confirm(spool.spool_id, [running, done])
    assert spool.unconfirmed == 0
    spool.record_result(record(running, Outcome.FAILED), NOW)
    assert spool.unconfirmed == 1
    spool.confirm(spool.spool_id, [running])
    assert spool.unconfirmed == 0


def test_numbers_are_never_used_twice_not_even_after_everything_was_confirmed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    used = {attempt(spool) for _ in range(5)}
    for seq in used:
        spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    spool.confirm(spool.spool_id, used)
    spool.close()
    again = open_spool(tmp_path)
    assert again.next_seq() not in used
    again.close()


def test_what_was_confirmed_is_not_published_again_by_the_next_process(tmp_path: Path) -> None:
    """The confirmations of the segment that is written to are nowhere on disk."""
    spool = open_spool(tmp_path)
    first, second = attempt(spool), attempt(spool)
    for seq in (first, second):
        spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    spool.confirm(spool.spool_id, [first, second])
    spool.close()
    assert left_behind(tmp_path) == {}
    again = open_spool(tmp_path)
    third = attempt(again)
    again.close()
    assert third > second
    assert list(left_behind(tmp_path)) == [third]


def test_numbers_go_on_after_a_segment_that_was_left_empty(tmp_path: Path) -> None:
    """Its name is then all that is left of the used numbers: a late confirmation must not drop a record of today."""
    spool = open_spool(tmp_path)
    used = {attempt(spool) for _ in range(5)}
    for seq in used:
        spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    spool.close()
    again = open_spool(tmp_path)
    again.confirm(again.spool_id, used)
    again.close()
    assert [path.stat().st_size for path in tmp_path.glob("*.log")] == [0]
    third = open_spool(tmp_path)
    assert third.next_seq() not in used
    third.close()


def test_a_fully_confirmed_segment_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "SEGMENT_BYTES", 2000)
    spool = open_spool(tmp_path)
    slow = attempt(spool)
    seqs = [attempt(spool) for _ in range(20)]
    for seq in seqs:
        spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    assert len(list(tmp_path.glob("*.log"))) > 3
    spool.confirm(spool.spool_id, seqs)
    assert len(list(tmp_path.glob("*.log"))) <= 2, "the slow attempt's segment and the one being written may stay"
    spool.record_result(record(slow, Outcome.COMPLETED), NOW)
    spool.close()
    left = left_behind(tmp_path)
    assert left[slow].outcome is Outcome.COMPLETED
    # What shares the slow attempt's segment is published again; the ledger has these results already and ignores them.
    assert left.keys() < {slow, *seqs}


def test_an_unconfirmed_result_is_republished_with_growing_delays(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    seq = attempt(spool)
    line = spool.record_result(record(seq, Outcome.COMPLETED), now=100.0)
    assert spool.due(now=119.9, at_most=10) == []
    assert spool.due(now=120.0, at_most=10) == [SpooledResult(f"att_{seq}", line)]
    assert spool.due(now=159.9, at_most=10) == []
    assert spool.due(now=160.0, at_most=10) == [SpooledResult(f"att_{seq}", line)]
    handed_out = [second for second in range(161, 100_000) if spool.due(float(second), at_most=10)]
    waits = [later - earlier for earlier, later in pairwise(handed_out)]
    assert waits[:4] == [160, 320, 640, 1280]
    assert set(waits[4:]) == {1280}
    weeks_later = [spool.due(200_000.0 + 1280 * turn, at_most=10) for turn in range(1500)]
    assert all(weeks_later), "however long the ledger is away, what it has not confirmed stays due"
    spool.confirm(spool.spool_id, [seq])
    assert spool.due(now=1e9, at_most=10) == []
    spool.close()


def test_results_of_an_earlier_process_are_due_at_once_in_batches(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    seqs = [attempt(spool) for _ in range(25)]
    for seq in seqs[:20]:
        spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    spool.close()
    again = open_spool(tmp_path)
    assert again.unconfirmed == 25
    looks = [again.due(NOW, at_most=10) for _ in range(4)]
    assert [len(results) for results in looks] == [10, 10, 5, 0]
    found = [AttemptRecord.decode(one.line) for results in looks for one in results]
    assert [one.attempt_id for results in looks for one in results] == [kept.attempt_id for kept in found]
    assert [kept.spool_seq for kept in found] == seqs
    assert [kept.outcome for kept in found].count(Outcome.INDETERMINATE) == 5
    again.close()


def test_an_id_that_was_not_written_any_more_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "id").touch()
    spool = open_spool(tmp_path)
    assert spool.spool_id
    spool.close()
    again = open_spool(tmp_path)
    assert again.spool_id == spool.spool_id
    again.close()


def test_only_the_worker_can_read_its_spool(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        spool = open_spool(tmp_path / "spool" / "worker-1")
        attempt(spool)
        spool.close()
    finally:
        os.umask(umask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").rglob("*")}
    assert modes == {"worker-1": 0o700, "lock": 0o600, "id": 0o600, "0000000000000001.log": 0o600}


def test_one_process_owns_a_slot(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with pytest.raises(SpoolLocked, match="another worker"):
        open_spool(tmp_path)
    spool.close()
    open_spool(tmp_path).close()


def test_a_torn_last_line_costs_only_itself(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    first, second = attempt(spool), attempt(spool)
    spool.close()
    segment = max(tmp_path.glob("*.log"))
    segment.write_bytes(segment.read_bytes()[:-40])
    assert left_behind(tmp_path).keys() == {first}
    assert second > first


def test_a_full_disk_refuses_the_attempt_and_leaves_no_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = open_spool(tmp_path)
    kept = attempt(spool)
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="full"):
        spool.record_intent(record(spool.next_seq()))
    monkeypatch.undo()
    later = attempt(spool)
    spool.close()
    assert left_behind(tmp_path).keys() == {kept, later}


def test_a_result_that_cannot_be_written_stays_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = open_spool(tmp_path)
    seq = attempt(spool)

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", refuse)
    line = spool.record_result(record(seq, Outcome.COMPLETED), NOW)
    assert AttemptRecord.decode(line).outcome is Outcome.COMPLETED
    assert spool.due(NOW + REPUBLISH.first_seconds, at_most=1) == [SpooledResult(f"att_{seq}", line)]
    monkeypatch.undo()
    spool.close()


def test_kill_minus_nine_loses_nothing_that_was_written(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
from tests.unit.provider_worker.test_spool import NOW, attempt, open_spool, record
from keyferry.contracts.usage import Outcome
spool = open_spool(Path(sys.argv[1]))
done = attempt(spool)
spool.record_result(record(done, Outcome.COMPLETED), NOW)
attempt(spool)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert [found.outcome for _, found in sorted(left_behind(tmp_path).items())] == [
        Outcome.COMPLETED,
        Outcome.INDETERMINATE,
    ]


def test_a_line_that_this_build_does_not_accept_is_kept_in_part(tmp_path: Path) -> None:
    """An earlier build accepted names that are refused now; what it paid for stays in the accounts."""
    spool = Spool(tmp_path)
    spool.open()
    intent = record(1)
    spool.record_intent(intent)
    spool.close()
    (segment,) = tmp_path.glob("*.log")
    segment.write_bytes(b"I" + intent.encode().replace(b'"model":"echo"', b'"model":"e\\u0000o"') + b"\n")
    again = Spool(tmp_path)
    again.open()
    (result,) = again.due(0.0, at_most=10)
    kept = AttemptRecord.decode(result.line)
    assert (result.attempt_id, kept.model, kept.unkept) == (intent.attempt_id, "e\ufffdo", ["model"])
    again.confirm(again.spool_id, [intent.spool_seq])
    assert again.unconfirmed == 0
    again.close()


def test_lines_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.open()
    spool.record_intent(record(1))
    spool.close()
    (segment,) = tmp_path.glob("*.log")
    with segment.open("ab") as file:
        file.write(b'I{"attempt_id": "att_2"\nR[]\n')
    again = Spool(tmp_path)
    again.open()
    assert (again.unreadable, again.unconfirmed) == (2, 1)
    again.close()
