"""Finds the place in the application's own code where something happens or has failed."""

import sysconfig
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_TOOLKIT: Final = str(Path(__file__).parents[1])
_LIBRARIES: Final = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib", "scripts")}
)


def is_authors(filename: str) -> bool:
    """Whether a file belongs to the application, rather than to the toolkit or a library."""
    return not filename.startswith((_TOOLKIT, *_LIBRARIES, "<"))


def authors_place(frames: Sequence[traceback.FrameSummary]) -> str:
    """The innermost frame that is the application's own, as `shop.py:12 in place`; empty if there is none."""
    found = next((frame for frame in reversed(frames) if is_authors(frame.filename)), None)
    return "" if found is None else shown(found)


def shown(frame: traceback.FrameSummary) -> str:
    path = Path(frame.filename)
    nearest = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{nearest}:{frame.lineno} in {frame.name}"
