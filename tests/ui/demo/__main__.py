"""`python -m tests.ui.demo`: the demo system, until Ctrl-C, with links that sign a browser in as each of its people.

For who writes a page: the tests of the page see the same system.
"""

import sys
import tempfile
from pathlib import Path

from deploy.console_page.build import build
from deploy.console_page.sources import PageSources
from tests.ui.demo.people import PEOPLE
from tests.ui.demo.seed import seed
from tests.ui.demo.system import DemoSystem, running_demo


def _print_links(demo: DemoSystem) -> None:
    for name, person in PEOPLE.items():
        print(f"{name:<12} {demo.console_url}/auth/code#{demo.code(person)}")
    print("\nEach link works once, within five minutes. Enter prints new ones; Ctrl-C stops everything.", flush=True)


def main() -> None:
    """Run the system until it is interrupted."""
    build(PageSources(), print)
    with tempfile.TemporaryDirectory(prefix="keyferry-demo-") as folder, running_demo(Path(folder) / "home") as demo:
        seed(demo)
        print(f"console {demo.console_url}, API {demo.http_url}/v1, home {demo.system.home}\n")
        try:
            while True:
                _print_links(demo)
                if not sys.stdin.readline():
                    break
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
