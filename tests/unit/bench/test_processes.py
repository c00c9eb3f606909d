"""Reading the kernel's account of processes, and grouping it under names."""

import os
import subprocess
import sys

import pytest

from tests.bench import processes
from tests.bench.failure import BenchError
from tests.bench.processes import Stat


def test_a_command_name_with_brackets_and_spaces_does_not_shift_the_fields() -> None:
    fields = ["S", "7", *["0"] * 9, "10", "20", "3", "4", *["0"] * 4, "999", *["0"] * 30]
    stat = processes.parse_stat(f"42 (a) b (c) {' '.join(fields)}\n")
    assert stat == Stat(pid=42, parent=7, cpu_ticks=37, start_ticks=999)


def test_the_memory_line_is_found_and_turned_into_bytes() -> None:
    text = "5583-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    9000 kB\nPss:    1234 kB\nPss_Anon:  77 kB\n"
    assert processes.parse_proportional_bytes(text) == 1234 * 1024
    assert processes.parse_proportional_bytes("") == 0


def test_descendants_belong_to_the_nearest_named_process() -> None:
    parents = {1: 0, 10: 1, 11: 10, 20: 1, 21: 20, 22: 21, 30: 20}
    stats = {pid: Stat(pid, parent, 0, 0) for pid, parent in parents.items()}
    named = [20, 30, 10]
    assert processes.members(20, stats, named) == [20, 21, 22]
    assert processes.members(30, stats, named) == [30]
    assert sorted(processes.members(1, stats, [1, *named])) == [1]
    assert processes.members(99, stats, named) == []


def test_a_real_child_is_found_and_later_known_to_be_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with child:
        stat = next(member for member in processes.family(os.getpid()) if member.pid == child.pid)
        assert processes.is_same(stat)
        assert processes.memory_bytes({"child": child.pid})["child"] > 0
    assert not processes.is_same(stat)
    with pytest.raises(BenchError, match="child ended"):
        processes.cpu_us({"child": child.pid})
