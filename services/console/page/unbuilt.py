"""What a browser is shown where the page belongs and has not been built. Pure."""

from html import escape

UNBUILT_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
RELOAD_SECONDS = 3
_DOCUMENT = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{seconds}">
<title>Keyferry: the console is not built yet</title>
</head>
<body>
<main>
<h1>The console's page is not here yet</h1>
{failure}<p><code>make up</code> builds it while the system starts, the first time in less than a minute.
Then this page reloads by itself.</p>
<p>If it does not, run <code>make page</code> in the directory of Keyferry: it builds the page, or says what is
missing.</p>
<p>Requests to the gateway, the management API and the command line work without the page.</p>
</main>
</body>
</html>
"""


def render_unbuilt(failure: str | None) -> bytes:
    """Return the document. `failure` is why somebody is not signed in, from our own list of messages."""
    said = f'<p role="alert">{escape(failure)}</p>\n' if failure else ""
    return _DOCUMENT.format(seconds=RELOAD_SECONDS, failure=said).encode()
