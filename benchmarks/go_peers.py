"""The order services in Go, built when they are needed and Go is installed."""

import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).with_name("peers") / "go"
BUILT = Path(__file__).resolve().parents[1] / "var" / "go"
PACKAGES = Path("/usr/share/gocode")
"""Where Debian puts the sources of Go packages."""


def is_installed() -> bool:
    """Whether Go and the packages that the services need are here."""
    return shutil.which("go") is not None and (PACKAGES / "src/github.com/jinzhu/gorm").exists()


def program(side: str) -> list[str]:
    """The command of a service: `go` (net/http and pgx), `gorm` (Gin and GORM with pgx) or `gorm-pq` (with lib/pq).

    Raises `SystemExit` where Go isn't installed.
    """
    if not is_installed():
        raise SystemExit("Go isn't installed; benchmarks/peers/go/README.md says what it needs")
    name = "raw" if side == "go" else "gorm"
    built = BUILT / name
    newest = max(source.stat().st_mtime for source in SOURCES.rglob("*.go"))
    if not built.exists() or built.stat().st_mtime < newest:
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": str(PACKAGES)}
        command = ["go", "build", "-trimpath", "-o", str(built), f"./{name}"]
        subprocess.run(command, cwd=SOURCES, env=environment, check=True)
    drivers = {"go": [], "gorm": ["-driver", "pgx"], "gorm-pq": ["-driver", "pq"]}
    return [str(built), *drivers[side]]
