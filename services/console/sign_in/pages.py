"""The page on which a link of `keyferry login --browser` ends: a program of a few lines, which posts the code. Pure."""

CODE_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in to Keyferry</title>
<script src="/auth/code.js" defer></script>
</head>
<body>
<main>
<h1>Keyferry</h1>
<p id="status" role="status">Signing in…</p>
<noscript><p>This page needs JavaScript. Without it, run <code>keyferry login</code> in a terminal.</p></noscript>
</main>
</body>
</html>
"""
CODE_SCRIPT = """"use strict";
(async () => {
  const status = document.getElementById("status");
  const code = location.hash.slice(1);
  const wanted = new URLSearchParams(location.search).get("return_to");
  history.replaceState(null, "", location.pathname);
  try {
    const answer = await fetch("/auth/code", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ code, browser: true, return_to: wanted }),
    });
    const body = await answer.json();
    const failure = answer.status === 429 ? "too_many_attempts" : "unavailable";
    location.replace(body.return_to ?? `/sign-in?error=${failure}`);
  } catch {
    status.textContent = "The console does not answer. Is it running?";
  }
})();
"""
PAGE_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
"""The content security policy of the page: its own script, and requests to the console."""
