"""Prints the matrix of providers and kinds of traffic at the end: recordings replayed right, of all that were."""

import pytest

from tests.support.judged import JUDGED, matrix


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    told = [str(value) for report in reports for name, value in report.user_properties if name == JUDGED]
    if told:
        terminalreporter.section("recorded provider traffic, right of replayed")
        terminalreporter.write_line(matrix(told))
