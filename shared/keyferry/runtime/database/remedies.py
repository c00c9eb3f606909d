"""What an operator does about a connection to PostgreSQL that cannot be made, by what libpq says."""

from sqlalchemy import URL

from keyferry.runtime.database.connecting import describe_servers

_FILE = "the file of KEYFERRY_DATABASE_URL_FILE"


def find_remedy(url: URL, said: str) -> str:
    """Return what is wrong and what to do, for the first line of the log; `said` is libpq's own text, which may be empty."""
    where = describe_servers(url)
    if "invalid connection option" in said or "invalid sslmode" in said:
        return f"libpq has no such option as one in the URL for {where}: mend {_FILE}"
    if "certificate" in said or "SSL" in said or "no encryption" in said:
        return f"TLS to {where} fails: {_find_tls_remedy(url, said)}"
    if "read-only" in said or "standby" in said or "read-write" in said:
        return f"no server of {where} takes changes: promote one, or wait for the end of the failover"
    if "password" in said:
        return f"{where} does not accept the role {url.username}: check {_FILE}"
    return f"start the server at {where} (`make up` does) or change {_FILE}"


def _find_tls_remedy(url: URL, said: str) -> str:
    root = url.query.get("sslrootcert", "~/.postgresql/root.crt")
    if "does not match host name" in said:
        return (
            "the server's certificate does not hold for the host in the URL: issue it with `--host` of that name, or use one of"
            " its names"
        )
    if "root certificate file" in said:
        return f"there is no {root}: put the certificate of the server's authority there, or name another file with sslrootcert"
    if "certificate verify failed" in said:
        return (
            f"the server's certificate is not of the authority in {root} (sslrootcert), or its time is over: compare the two,"
            " renew it (`python -m deploy.certificates issue`) and let the server read it (`SELECT pg_reload_conf()`)"
        )
    if "does not support SSL" in said:
        return "the server has no TLS: set `ssl = on` with a certificate in its postgresql.conf"
    if "no encryption" in said:
        return "the server takes connections with TLS only: add sslmode=verify-full and sslrootcert to the URL"
    return "check sslmode and sslrootcert in the URL, the server's certificate and its names"
