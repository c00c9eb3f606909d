"""Lighthouse sees other things than axe does; its accessibility is asserted, its performance is only measured."""

import pytest

from tests.ui.demo.people import OWNER, TENANT
from tests.ui.demo.system import DemoSystem
from tests.ui.lighthouse import GOALS, measure


@pytest.mark.parametrize("path", ["", "usage"])
def test_lighthouse_finds_a_page_accessible(path: str, demo: DemoSystem) -> None:
    found = measure(demo, f"/t/{TENANT}/{path}".rstrip("/"), OWNER, ["accessibility"])
    assert found.scores["accessibility"] >= GOALS["accessibility"], found.failed_audits
