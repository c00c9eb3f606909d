"""Sources of a page that need no packages from npm: its build writes one source into the document, as Vite would."""

import json
from pathlib import Path

from deploy.console_page.sources import PageSources

_BUILD = """
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
const out = process.argv[process.argv.indexOf("--outDir") + 1];
const text = readFileSync("src/text", "utf8");
appendFileSync("../builds", `${text}\\n`);
mkdirSync(`${out}/assets`, { recursive: true });
if (text === "broken") throw new Error("this source is broken");
if (text === "endless") setInterval(() => {}, 1000);
writeFileSync(`${out}/assets/app-1.js`, text.repeat(1000));
writeFileSync(`${out}/environment.json`, JSON.stringify(process.env));
writeFileSync(`${out}/index.html`, `<!doctype html><title>${text}</title><script src="/assets/app-1.js"></script>`);
"""
_PACKAGE = {
    "name": "page",
    "private": True,
    "scripts": {
        "build": "npm run --silent generate && node build.mjs",
        "generate": "node -e 0",
        "check": "node check.mjs",
    },
}


def write_sources(folder: Path, text: str = "first") -> PageSources:
    """Write sources into `folder`, with this text on the page."""
    web, openapi = folder / "web", folder / "openapi.json"
    (web / "src").mkdir(parents=True, exist_ok=True)
    lock = {"name": "page", "lockfileVersion": 3, "requires": True, "packages": {"": {"name": "page"}}}
    for name, content in (("package.json", _PACKAGE), ("package-lock.json", lock)):
        (web / name).write_text(json.dumps(content))
    (web / "build.mjs").write_text(_BUILD)
    (web / "src" / "text").write_text(text)
    openapi.write_text("{}")
    return PageSources(web, openapi)


def builds(sources: PageSources) -> list[str]:
    """Return the texts of the builds that were begun, in their order."""
    file = sources.web.parent / "builds"
    return file.read_text().splitlines() if file.exists() else []
