"""craton lock: write what other services, and what is stored, rely on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from craton.cli.load import WRONG_USE, fail, load_app, out, settings
from craton.cli.options import AppName
from craton.runtime.compatibility.lock import Lock, lock_of

FILE: Final = Path("craton.lock")


def lock(app: AppName = None) -> None:
    """Write craton.lock: what upgrades must keep to. Commit it, and write it anew after each release."""
    loaded = load_app(settings(app=app)["app"])
    FILE.write_text("\n".join(_lines(msgspec.to_builtins(lock_of(loaded.wiring)))) + "\n", encoding="utf-8")
    out.print(f"{FILE} is written.")


def read_lock() -> Lock:
    """Read craton.lock. Exits with a sentence if it can't be read."""
    try:
        return msgspec.json.decode(FILE.read_bytes(), type=Lock)
    except FileNotFoundError:
        fail(f"There is no {FILE} here; craton lock writes one.", WRONG_USE)
    except (OSError, msgspec.DecodeError) as problem:
        fail(f"{FILE} can't be read: {problem}. Take the released one, or write it anew with craton lock.", WRONG_USE)


def _lines(lock: dict[str, Any]) -> Iterator[str]:
    """JSON with a line for each thing, so that a change of one is one line in a review."""
    yield "{"
    for place, (section, entries) in enumerate(lock.items()):
        comma = "," if place < len(lock) - 1 else ""
        if isinstance(entries, dict):
            inner = [f"  {_json(name)}: {_json(entry)}" for name, entry in sorted(entries.items())]
            opening, closing = "{", "}"
        else:
            inner = [f"  {_json(entry)}" for entry in entries]
            opening, closing = "[", "]"
        yield f"{_json(section)}: {opening}"
        yield from (f"{line}," for line in inner[:-1])
        yield from inner[-1:]
        yield closing + comma
    yield "}"


def _json(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
