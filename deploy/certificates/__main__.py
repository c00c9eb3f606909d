"""Certificates for the servers and clients of an installation that has no authority of its own.

    python -m deploy.certificates authority DIR
    python -m deploy.certificates issue DIR NAME --host nats-1.example.com --host 10.0.0.1
    python -m deploy.certificates issue DIR NAME --host 10.0.0.1 --authority routes
    python -m deploy.certificates list DIR

Keep DIR where no server can read it, and give each machine its own files and the authorities' `.pem`.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from deploy.certificates.authority import Authority, CertificateMistake, authority_file, issue, make_authorities
from keyferry.runtime.tls.certificates import UnusableCertificate, describe_expiry, expiry_of


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m deploy.certificates", description="Make certificates.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_ in (("authority", "make the authorities"), ("list", "show when certificates end")):
        commands.add_parser(name, help=help_).add_argument("directory", type=Path)
    issuing = commands.add_parser("issue", help="make a certificate, or renew it")
    issuing.add_argument("directory", type=Path)
    issuing.add_argument("name")
    issuing.add_argument(
        "--host", action="append", default=[], help="DNS name or address of a server; none for a client"
    )
    issuing.add_argument("--authority", type=Authority, choices=list(Authority), default=Authority.SERVICES)
    issuing.add_argument("--days", type=int, default=365)
    args = parser.parse_args()
    try:
        _run(args)
    except (CertificateMistake, UnusableCertificate) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"cannot write in {args.directory}: {error.strerror}")


def _run(args: argparse.Namespace) -> None:
    if args.command == "authority":
        for path in make_authorities(args.directory):
            print(f"{path} until {_day(expiry_of(path))}")
    elif args.command == "issue":
        cert_file, key_file = issue(args.directory, args.name, args.host, authority=args.authority, days=args.days)
        print(f"{cert_file} until {_day(expiry_of(cert_file))}, key {key_file}, checked with", end=" ")
        print(authority_file(args.directory, args.authority))
    else:
        for path in sorted(args.directory.glob("*.pem")):
            expires_at = expiry_of(path)
            soon = describe_expiry(path, expires_at, datetime.now(UTC)) is not None
            print(f"{path.name:30} until {_day(expires_at)}{'  REPLACE SOON' if soon else ''}")


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")


if __name__ == "__main__":
    main()
