"""A small built page, for tests of how it is served."""

import gzip
from pathlib import Path

SCRIPT = 'document.documentElement.dataset.scheme = "light";'
INDEX = f"""<!doctype html>
<html lang="en"><head><meta property="csp-nonce" nonce="__CSP_NONCE__">
<script>{SCRIPT}</script>
<script type="application/json" id="console-config">__CONSOLE_CONFIG__</script>
<link rel="stylesheet" href="/assets/app-1a2b.css">
</head><body><div id="root"></div><script type="module" src="/assets/app-3c4d.js"></script></body></html>
"""
PROGRAM = "console.log('page');\n" * 100
STYLE = "body { color: black }\n"


def write_page(folder: Path, *, program: str = PROGRAM, name: str = "app-3c4d.js", digest: str = "1") -> Path:
    """Write a whole page into `folder`, with a program of this name."""
    assets = folder / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    (assets / name).write_text(program)
    (assets / f"{name}.gz").write_bytes(gzip.compress(program.encode()))
    (assets / f"{name}.br").write_bytes(b"brotli of " + program.encode())
    (assets / "app-1a2b.css").write_text(STYLE)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "index.html").write_text(INDEX.replace("app-3c4d.js", name))
    (folder / ".digest").write_text(digest)
    return folder
