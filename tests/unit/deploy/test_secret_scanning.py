"""The patterns for secret scanners find every client token, and nothing that only looks like one."""

import random
import re
import string
import tomllib
from pathlib import Path

import pytest
from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

from keyferry.contracts import client_token

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "deploy/secret-scanning/keyferry_client_token.py"
GUIDE = ROOT / "docs/guides/client-tokens.md"
ALPHABET = string.digits + string.ascii_letters
SETTINGS = {"plugins_used": [{"name": "KeyferryClientTokenDetector", "path": PLUGIN.as_uri()}]}


def found_lines(file: Path, lines: list[str]) -> set[int]:
    """Return the numbers of the lines in which detect-secrets finds a secret."""
    file.write_text("\n".join(lines) + "\n")
    secrets = SecretsCollection()
    with transient_settings(SETTINGS):
        secrets.scan_file(str(file))
    return {secret.line_number for _, secret in secrets}


def typo(token: str, random_: random.Random) -> str:
    """Return `token` with one of its characters replaced."""
    at = random_.randrange(len(client_token.PREFIX), len(token))
    return token[:at] + random_.choice(ALPHABET.replace(token[at], "")) + token[at + 1 :]


def test_detect_secrets_finds_every_token_wherever_it_stands(tmp_path: Path) -> None:
    tokens = [client_token.mint().reveal() for _ in range(200)]
    surroundings = ("KEY={}", '"token": "{}",', "Authorization: Bearer {}", "https://x.test/?t={}&u=1", "{}", "({})")
    lines = [surroundings[number % len(surroundings)].format(token) for number, token in enumerate(tokens)]
    assert found_lines(tmp_path / "config.txt", lines) == set(range(1, len(lines) + 1))


@pytest.mark.parametrize("count", [1000, pytest.param(20_000, marks=pytest.mark.long)])
def test_detect_secrets_reports_no_typing_error(tmp_path: Path, count: int) -> None:
    random_ = random.Random(count)
    lines = [typo(client_token.mint().reveal(), random_) for _ in range(count)]
    assert found_lines(tmp_path / "typos.txt", lines) == set()


def test_all_published_patterns_are_the_one_of_the_code() -> None:
    rules = tomllib.loads((ROOT / "deploy/secret-scanning/gitleaks.toml").read_text())["rules"]
    assert [rule["regex"] for rule in rules] == [client_token.PATTERN]
    assert client_token.PATTERN in GUIDE.read_text()
    token = client_token.mint()
    assert re.search(rules[0]["regex"], f"x {token.reveal()} y")
    assert any(word in token.reveal() for word in rules[0]["keywords"])
