"""The report: aligned tables, JSON that keeps everything, and the marked part of the document."""

import json
from pathlib import Path

import pytest

from tests.bench import goals, report
from tests.bench.case import Case, Kind
from tests.bench.failure import BenchError
from tests.bench.keys import COLD, WARM
from tests.bench.keys.timing import timing
from tests.bench.load import Load
from tests.bench.machine import Machine, cpu_model, wrk_version
from tests.bench.measure import Measurement
from tests.bench.summary import summarize

_MACHINE = Machine(
    cpu_model="Some CPU",
    cores=2,
    memory_bytes=8_000_000_000,
    kernel="6.1",
    python="3.11.7",
    commit="abc1234",
    started_at="2026-01-02T03:04:05+00:00",
    load_average=0.25,
    versions={"wrk": "4.1.0", "aiohttp": "3.14"},
)


def _report(problems: list[str]) -> report.Report:
    measurements = [
        Measurement(
            system, Case(Kind.PLAIN, 64), 1, seen, {"upstream": 12.4, "ingress": 100.6}, {"upstream": 4_000_000}
        )
        for system, seen in (
            ("direct", Load(4000, 4000, 0, 1.0, 500, 900, 1300, 8000)),
            ("product", Load(1000, 1000, 0, 1.0, 2500, 2900, 3300, 8000)),
        )
    ]
    summaries = summarize(measurements)
    return report.Report(_MACHINE, 20, 5, measurements, summaries, goals.evaluate(summaries), problems)


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert report.table(["name", "n"], [["a", "1000"], ["longer", "2"]]).splitlines() == [
        "name       n",
        "------  ----",
        "a       1000",
        "longer     2",
    ]


def test_the_text_shows_machine_figures_ratios_and_missed_goals() -> None:
    text = report.as_text(_report([]))
    assert "commit abc1234" in text
    assert "Some CPU, 2 cores, 8 GB" in text
    [product_line] = [line for line in text.splitlines() if line.startswith("plain-64 product") and "0.250" in line]
    assert product_line.split()[2:] == [
        *("1000", "1000", "1000"),
        *("2.500", "2.900", "3.300"),
        "0",
        *("0.250", "-"),
        *("2.000", "2.000"),
    ]
    assert "ingress 101, upstream 12" in text
    assert "MISSED" in text
    assert "PROBLEMS" not in text


def test_problems_come_with_the_figures_they_spoil() -> None:
    text = report.as_text(_report(["product plain-64: -3 accounted requests"]))
    assert "these figures do not count" in text
    assert "product plain-64: -3 accounted requests" in text


def test_the_json_holds_machine_measurements_and_goal_results() -> None:
    document = json.loads(report.as_json(_report([])))
    assert document["machine"]["commit"] == "abc1234"
    assert document["measurements"][1]["load"]["p99_us"] == 3300
    assert document["summaries"][1]["against"]["direct"]["per_second_ratio"] == 0.25
    assert document["goal_results"][0]["met"] is False


def test_only_the_part_between_the_markers_changes(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"# Before\n{report.BEGIN}\nold\n{report.END}\nAfter\n")
    report.write_docs(document, _report([]))
    text = document.read_text()
    assert text.startswith(f"# Before\n{report.BEGIN}\n```text\ncommit abc1234")
    assert text.endswith(f"```\n{report.END}\nAfter\n")
    assert "old" not in text
    again = text
    report.write_docs(document, _report([]))
    assert document.read_text() == again


def test_a_run_with_problems_is_not_published(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"{report.BEGIN}\nold\n{report.END}\n")
    with pytest.raises(BenchError, match="not published"):
        report.write_docs(document, _report(["direct plain-1: 1 errors"]))
    assert "old" in document.read_text()


@pytest.mark.parametrize(
    "document", ["", report.BEGIN, f"{report.END}{report.BEGIN}", f"{report.BEGIN * 2}{report.END}"]
)
def test_a_document_without_its_markers_is_refused(document: str) -> None:
    with pytest.raises(BenchError, match="needs one line"):
        report.between_markers(document, "new")


def test_the_repository_document_can_take_a_report() -> None:
    document = Path(__file__).parents[3] / "docs" / "benchmarks.md"
    assert "new figures" in report.between_markers(document.read_text(), "new figures")


def test_the_processor_is_named_or_unknown() -> None:
    assert cpu_model("processor\t: 0\nmodel name\t: Some CPU @ 2GHz\n") == "Some CPU @ 2GHz"
    assert cpu_model("processor\t: 0\nBogoMIPS\t: 50\n").startswith("unnamed ")


def test_the_load_generator_version_is_cut_out_of_its_banner() -> None:
    assert wrk_version("wrk debian/4.1.0-3 [epoll] Copyright") == "debian/4.1.0-3"


def test_separate_timings_are_reported_and_evaluated() -> None:
    timings = [timing(WARM, range(1000, 201_000, 1000), 2.0), timing(COLD, [6_000_000] * 100, 1.0)]
    assert [(one.p50_us, one.p90_us, one.p99_us) for one in timings] == [(100, 180, 198), (6000, 6000, 6000)]
    goal_results = goals.evaluate_timings(timings)
    assert [(one.found, one.met) for one in goal_results] == [(0.198, False), (6.0, False)]
    assert goals.evaluate_timings([timing(WARM, [50_000] * 100, 1.0)])[0].met
    whole = report.Report(_MACHINE, 20, 5, [], [], goal_results, [], timings)
    text = report.as_text(whole)
    assert "lease warm                     200    100   100.0   180.0   198.0" in text
    assert "MISSED" in text
    assert json.loads(report.as_json(whole))["timings"][0]["per_second"] == 100
    with pytest.raises(BenchError, match="99 samples are too few"):
        timing(WARM, [1] * 99, 1.0)
