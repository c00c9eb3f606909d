"""The authority of an installation: what it refuses, and that its two parts do not sign for each other."""

import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.certificates.authority import Authority, CertificateMistake, authority_file, issue, make_authorities
from keyferry.runtime.tls.certificates import CertificateFiles
from keyferry.runtime.tls.context import client_context, server_context
from tests.unit.runtime.test_tls import handshake


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.certificates", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_makes_renews_and_lists_certificates(tmp_path: Path) -> None:
    directory = tmp_path / "authority"
    assert run("authority", directory).returncode == 0
    assert "exists" in run("authority", directory).stderr
    made = run("issue", directory, "nats-1", "--host", "127.0.0.1", "--days", "10")
    assert str(directory / "services-ca.pem") in made.stdout, made.stderr
    assert "REPLACE SOON" in run("list", directory).stdout
    assert run("issue", directory, "nats-1", "--host", "127.0.0.1").returncode == 0
    assert "REPLACE SOON" not in run("list", directory).stdout
    assert {path.name for path in directory.glob("*.key") if path.stat().st_mode & 0o077} == set()


def test_a_certificate_of_services_is_none_for_routes_and_a_clients_none_of_a_server(tmp_path: Path) -> None:
    make_authorities(tmp_path)
    server = server_context(CertificateFiles(*issue(tmp_path, "nats-1", ["localhost"])))
    handshake(server, client_context(authority_file(tmp_path, Authority.SERVICES)))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(authority_file(tmp_path, Authority.ROUTES)))
    client_only = server_context(CertificateFiles(*issue(tmp_path, "service", [])))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(client_only, client_context(authority_file(tmp_path, Authority.SERVICES)))


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "-a", "a\x00", "a\nb", "ä", "x" * 65, "services-ca"])
def test_names_that_are_no_files_are_refused(tmp_path: Path, name: str) -> None:
    make_authorities(tmp_path)
    with pytest.raises(CertificateMistake, match="name of"):
        issue(tmp_path, name, [])
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("host", ["", "https://a", "a:4222", "a b", "a\x00", "\udc80", "a" * 254, "1.2.3.4/8"])
def test_hosts_that_are_none_are_refused(tmp_path: Path, host: str) -> None:
    make_authorities(tmp_path)
    with pytest.raises(CertificateMistake, match="is no host"):
        issue(tmp_path, "nats-1", [host])


def test_a_certificate_ends_no_later_than_its_authority_and_a_damaged_authority_signs_nothing(tmp_path: Path) -> None:
    make_authorities(tmp_path, datetime.now(UTC) - timedelta(days=3640))
    for days in (0, -1, 11, 10**6):
        with pytest.raises(CertificateMistake, match="no life"):
            issue(tmp_path, "a", [], days=days)
    (tmp_path / "services-ca.key").write_bytes((tmp_path / "routes-ca.key").read_bytes())
    with pytest.raises(CertificateMistake, match="is not that of"):
        issue(tmp_path, "a", [])
    (tmp_path / "services-ca.key").write_bytes(b"\x00")
    with pytest.raises(CertificateMistake, match="damaged"):
        issue(tmp_path, "a", [])
