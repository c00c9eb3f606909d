"""TLS contexts: files that are replaced, files that cannot be used, and certificates that end."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keyferry.runtime.bus.servers import bus_tls, bus_tls_of_environment
from keyferry.runtime.http.settings import HttpSettings
from keyferry.runtime.process.settings import SettingsError, load
from keyferry.runtime.tls.certificates import UnusableCertificate, describe_expiry, expiry_of
from keyferry.runtime.tls.context import client_context, server_context
from tests.support.certificates import HOSTS, Certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path / "ca")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> ssl.SSLObject:
    """Do the handshake in memory; return the client's side. Raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname=host)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    done = False
    while not done:
        try:
            ours.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        try:
            theirs.do_handshake()
        except ssl.SSLWantReadError:
            done = False
    return ours


def serial_of(connection: ssl.SSLObject) -> str:
    found = connection.getpeercert()
    assert found is not None
    return str(found["serialNumber"])


def test_replaced_files_count_from_the_next_handshake_on(certificates: Certificates) -> None:
    files = certificates.issue("server", *HOSTS)
    server, client = server_context(files), client_context(certificates.ca_file)
    first = handshake(server, client)
    assert first.version() == "TLSv1.3"
    certificates.issue("server", *HOSTS)
    assert serial_of(handshake(server, client)) != serial_of(first)
    certificates.renew_authorities()
    certificates.issue("server", *HOSTS)
    handshake(server, client)  # the client trusts the new authority, and the former one no more
    assert server.problems() == client.problems() == []


def test_files_that_do_not_fit_leave_the_former_ones_in_use_until_they_do(certificates: Certificates) -> None:
    files = certificates.issue("server", *HOSTS)
    server, client = server_context(files), client_context(certificates.ca_file)
    serial = serial_of(handshake(server, client))
    key = files.key_file.read_bytes()
    other = certificates.issue("other", *HOSTS)
    files.key_file.write_bytes(other.key_file.read_bytes())
    assert serial_of(handshake(server, client)) == serial
    assert [problem for problem in server.problems() if "does not belong" in problem and "former files" in problem]
    files.key_file.unlink()
    assert serial_of(handshake(server, client)) == serial
    assert "cannot read" in server.problems()[0]
    files.key_file.write_bytes(key)
    assert serial_of(handshake(server, client)) == serial
    assert server.problems() == []


def test_old_versions_other_names_and_other_authorities_are_refused(certificates: Certificates, tmp_path: Path) -> None:
    server = server_context(certificates.issue("server", *HOSTS))
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.load_verify_locations(certificates.ca_file)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        handshake(server, old)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server, client_context(certificates.ca_file), "elsewhere.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(Certificates(tmp_path / "other").ca_file))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client_context(None))


def _with_passphrase(path: Path) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    hidden = serialization.BestAvailableEncryption(b"secret words")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "do not hold a certificate and its key"),
        (b"\x00" * 100, "do not hold a certificate and its key"),
        (b"\xff\xfe", "not in PEM format"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "do not hold a certificate and its key"),
        (b"x" * (1024 * 1024 + 1), "too long"),
        (_with_passphrase(Path()), "has a passphrase"),
    ],
)
def test_unusable_keys_are_named_and_their_content_is_not(
    certificates: Certificates, content: bytes, message: str
) -> None:
    files = certificates.issue("server", *HOSTS)
    files.key_file.write_bytes(content)
    with pytest.raises(UnusableCertificate, match=message) as refused:
        server_context(files)
    assert "server" in str(refused.value)
    assert "PRIVATE" not in str(refused.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x00\x01", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_authorities_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(UnusableCertificate, match="holds no certificate"):
        client_context(path)
    with pytest.raises(UnusableCertificate, match="holds no certificate"):
        expiry_of(path)


def test_a_certificate_is_reported_two_weeks_before_it_ends(certificates: Certificates) -> None:
    files = certificates.issue("server", *HOSTS)
    end = expiry_of(files.cert_file)
    assert server_context(files).expires_at == end
    path, second = files.cert_file, timedelta(seconds=1)
    assert describe_expiry(path, end, end - timedelta(days=14) - second) is None
    assert "expires on" in str(describe_expiry(path, end, end - timedelta(days=14)))
    assert "expired on" in str(describe_expiry(path, end, end))
    assert datetime.now(UTC) + timedelta(days=364) < end


def test_tls_to_the_bus_is_asked_for_by_the_url_or_by_a_file(certificates: Certificates) -> None:
    own = certificates.issue("client")
    assert bus_tls(["nats://a"]) is None
    assert bus_tls(["tls://a", "TLS://b"]) is not None
    assert bus_tls(["nats://a"], certificates.ca_file, own.cert_file, own.key_file) is not None
    assert bus_tls_of_environment(["a"], {"KEYFERRY_NATS_CA_FILE": str(certificates.ca_file)}) is not None
    with pytest.raises(UnusableCertificate, match="either all servers"):
        bus_tls(["tls://a", "nats://b"])
    with pytest.raises(UnusableCertificate, match="belong together"):
        bus_tls(["tls://a"], None, own.cert_file)
    with pytest.raises(UnusableCertificate, match="cannot read"):
        bus_tls(["a"], certificates.directory / "nothing")


def test_settings_name_the_variable_and_never_the_key(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates.issue("server", *HOSTS)
    monkeypatch.setenv("KEYFERRY_NATS_URL", "nats://127.0.0.1:9")
    monkeypatch.setenv("KEYFERRY_TLS_CERT_FILE", str(files.cert_file))
    with pytest.raises(SettingsError, match="belong together"):
        load(HttpSettings).check_files()
    key = files.key_file.read_text()
    monkeypatch.setenv("KEYFERRY_TLS_KEY_FILE", key)
    with pytest.raises(SettingsError, match=r"KEYFERRY_TLS_KEY_FILE: there is no such file") as refused:
        load(HttpSettings)
    assert key.splitlines()[1] not in str(refused.value)
    monkeypatch.setenv("KEYFERRY_TLS_KEY_FILE", str(files.cert_file))
    with pytest.raises(SettingsError, match=r"KEYFERRY_TLS_CERT_FILE: .* do not hold"):
        load(HttpSettings).check_files()
    monkeypatch.setenv("KEYFERRY_TLS_KEY_FILE", str(files.key_file))
    load(HttpSettings).check_files()
    monkeypatch.delenv("KEYFERRY_TLS_CERT_FILE")
    monkeypatch.delenv("KEYFERRY_TLS_KEY_FILE")
    assert load(HttpSettings).server_tls() is None
