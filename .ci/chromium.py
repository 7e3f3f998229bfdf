"""Print the path of a Chromium that Playwright can drive, or say how to get one.

    python .ci/chromium.py

Looks at the environment variable CHROMIUM, at the one that `playwright install` downloads, and at
the commands on the path, in this order.
"""

import os
import shutil
import sys
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "No Chromium was found, so the notebooks cannot be tested in a browser. Run "
    "`.venv/bin/playwright install chromium`, install Chromium with the system's package manager, "
    "or set the environment variable CHROMIUM to the path of one."
)


def candidates():
    """Paths where Chromium may be."""
    yield os.environ.get("CHROMIUM")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.executable_path
    yield from map(shutil.which, COMMANDS)


def main():
    """Print the first candidate that exists."""
    for path in candidates():
        if path and Path(path).exists():
            print(path)
            return 0
    print(MISSING, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
