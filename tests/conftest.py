"""What applies to the whole run: garbage collection, certificates, untimed properties, the order, a summary."""

import gc
from collections.abc import Generator

import pytest
from xdist.remote import Producer

from tests.support.clients.shared_certificates import share_certificates
from tests.support.providers.replay_matrix import REPLAY_RESULT, replay_matrix
from tests.support.untimed_properties import leave_properties_untimed
from tests.support.worker_distribution import SystemsOnOneWorker


def pytest_configure() -> None:
    share_certificates()
    leave_properties_untimed()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests without searching for garbage, and never search what was collected.

    The tests and the modules they import are millions of objects, which stay; half of the time would go into looking at them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


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
