"""Lints the market's OpenAPI document by the rules that two linters recommend, and buys with three generated clients.

`make clients` installs what this needs, and runs it. Everything is made in `generated/`.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.request import urlopen

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
GENERATED: Final = HERE / "generated"
DOCUMENT: Final = "generated/openapi.json"
PYTHON_TOOLS: Final = HERE / "venv" / "bin"


def run(*command: str) -> None:
    """Run a tool; if it complains, show of what, and end."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(HERE / "node_modules/.bin"), str(PYTHON_TOOLS), os.environ["PATH"]]),
        "PYTHONPATH": str(HERE),
        "REDOCLY_TELEMETRY": "off",
        "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true",
    }
    ended = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=False)
    print(f"{'ok    ' if ended.returncode == 0 else 'FAILED'} {' '.join(command)}", flush=True)
    if ended.returncode != 0:
        sys.exit(ended.stdout + ended.stderr)


@contextmanager
def market() -> Iterator[str]:
    """The URL of a market with its demo data, in a process of its own."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "craton", "up", "--port", "0", "--data", folder]
        environment = os.environ | {"CRATON_NOTIFICATIONS_FOLDER": f"{folder}/mail"}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield next(found[0] for line in process.stdout if (found := re.search(r"http://[^\s/]+", line)))
            finally:
                process.terminate()


def main() -> None:
    shutil.rmtree(GENERATED, ignore_errors=True)
    GENERATED.mkdir()
    with market() as url:
        with urlopen(f"{url}/openapi.json") as answer:  # noqa: S310
            (HERE / DOCUMENT).write_bytes(answer.read())
        run("redocly", "lint", DOCUMENT, "--extends", "recommended-strict")
        run("spectral", "lint", DOCUMENT, "--ruleset", "spectral.yaml", "--fail-severity", "hint")
        target = ("--meta", "none", "--output-path", "generated/market_client")
        run("openapi-python-client", "generate", "--path", DOCUMENT, *target, "--fail-on-warning")
        run("openapi-typescript", DOCUMENT, "--output", "generated/openapi_typescript.ts")
        run("openapi-ts", "--no-log-file")
        run("tsc")
        run("python", "buy_with_openapi_python_client.py", url)
        run("node", "generated/compiled/buy_with_openapi_fetch.js", url)
        run("node", "generated/compiled/buy_with_hey_api.js", url)


if __name__ == "__main__":
    main()
