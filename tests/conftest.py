"""What applies to the whole run: how its tests are spread over workers, and the matrix of replayed recordings in its summary."""

import pytest
from xdist.remote import Producer

from tests.support.providers.replay_matrix import REPLAY_RESULT, replay_matrix
from tests.support.worker_distribution import SystemsOnOneWorker


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SystemsOnOneWorker:
    config.option.loadscopereorder = False
    return SystemsOnOneWorker(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix of providers and kinds of traffic: recordings replayed right, of all that were."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    results = [str(value) for report in reports for name, value in report.user_properties if name == REPLAY_RESULT]
    if results:
        terminalreporter.section("recorded provider traffic, right of replayed")
        terminalreporter.write_line(replay_matrix(results))
