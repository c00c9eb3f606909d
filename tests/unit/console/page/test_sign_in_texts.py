"""The page explains each reason for a failed sign-in as the console does."""

import json
import re

from services.console.sign_in.failures import MESSAGES
from tests.support.repository.files import ROOT


def test_the_page_has_the_text_of_every_code() -> None:
    source = (ROOT / "services/console/web/src/pages/sign-in/errors.ts").read_text()
    found = dict(re.findall(r'^  (\w+):\s*("(?:[^"\\]|\\.)*"),$', source, re.MULTILINE))
    assert {code: json.loads(text) for code, text in found.items()} == {
        str(code): text for code, text in MESSAGES.items()
    }
