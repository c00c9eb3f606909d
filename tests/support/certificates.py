"""Certificates for tests: an installation's authorities, made by the product's own tool."""

from pathlib import Path

from deploy.certificates.authority import Authority, authority_file, issue, make_authorities
from deploy.nats.cluster import TlsFiles
from keyferry.runtime.tls.certificates import CertificateFiles

HOSTS = ("127.0.0.1", "localhost")


class Certificates:
    """A directory with authorities and what they have issued."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.renew_authorities()

    @property
    def ca_file(self) -> Path:
        """Of the authority for services."""
        return authority_file(self.directory, Authority.SERVICES)

    def renew_authorities(self) -> None:
        """Make other authorities in place of the former ones."""
        for path in self.directory.glob("*-ca.*"):
            path.unlink()
        make_authorities(self.directory)

    def issue(self, name: str, *hosts: str, authority: Authority = Authority.SERVICES) -> CertificateFiles:
        """Make a certificate, or renew it; without `hosts` it is that of a client."""
        return CertificateFiles(*issue(self.directory, name, hosts, authority=authority))

    def server_files(self, name: str = "server", *, mutual: bool = False) -> TlsFiles:
        """Return the files of a server on loopback, which asks for certificates if it is `mutual`."""
        files = self.issue(name, *HOSTS)
        return TlsFiles(files.cert_file, files.key_file, self.ca_file if mutual else None)
