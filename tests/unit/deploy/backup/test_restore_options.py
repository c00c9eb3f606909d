"""Which options of a restore go together, before anything is read."""

import os
import subprocess
import sys

import pytest

from tests.support.repository.files import ROOT


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--nats-url", "nats://127.0.0.1:1"), "need both --admin-url-file and --nats-url"),
        (("--admin-url-file", "admin.url"), "need both --admin-url-file and --nats-url"),
        (("--replicas", "3"), "--seed-file and --replicas are for servers elsewhere"),
    ],
)
def test_half_of_a_target_is_refused_by_the_command(options: tuple[str, ...], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "keyferry.cli.main", "restore", "no.backup", "--key", "no.key", *options],
        cwd=ROOT,
        env={**os.environ, "KEYFERRY_HOME": "/nonexistent/home"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
