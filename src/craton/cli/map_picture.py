"""The map of modules as a picture: the upper half shows which module calls which, the lower half which module listens
to which.

Modules stand in columns: each module left of all that it calls. Both halves have the same columns.
"""

from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from craton.runtime.module_map import Arrow, ModuleMap, ModuleOnMap

BOX_WIDTH: Final = 240
BOX_HEIGHT: Final = 78
COLUMN_WIDTH: Final = 380
ROW_HEIGHT: Final = 118
MARGIN: Final = 30
TITLE_HEIGHT: Final = 50
MAX_SHOWN_SAGAS: Final = 2

CALLS: Final = "Calls: from the module that calls to the one that is called"
LISTENING: Final = "Listening: from the module that records events to the one that hears of them"

STYLE: Final = (
    "text{font-family:system-ui,sans-serif;font-size:12px;fill:#1f2933}.title{font-size:15px;font-weight:600}"
    ".name{font-size:14px;font-weight:600}.box{fill:#f5f7fa;stroke:#52606d}"
    ".call,.event{fill:none;stroke:#3e4c59;stroke-width:1.4;marker-end:url(#head)}.event{stroke-dasharray:5 4}"
    "@media(prefers-color-scheme:dark){svg{background:#1f2933}text{fill:#f5f7fa}.box{fill:#323f4b;stroke:#9aa5b1}"
    ".call,.event{stroke:#cbd2d9}#head path{fill:#cbd2d9}}"
)
HEAD: Final = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
    'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="#3e4c59"/></marker></defs>'
)


class Place:
    """The upper left corner of a box. Every second column starts half a row lower, so that arrows can pass."""

    def __init__(self, column: int, row: int, top: int) -> None:
        self.x = MARGIN + column * COLUMN_WIDTH
        self.y = top + row * ROW_HEIGHT + column % 2 * ROW_HEIGHT // 2


def svg(drawn: ModuleMap) -> str:
    """Return the picture as a document of SVG 1.1."""
    columns = _columns(drawn)
    height = TITLE_HEIGHT + max((len(column) for column in columns), default=0) * ROW_HEIGHT + ROW_HEIGHT // 2
    calls_at, listening_at = _places(columns, TITLE_HEIGHT), _places(columns, height + TITLE_HEIGHT)
    width = 2 * MARGIN + max(0, len(columns) - 1) * COLUMN_WIDTH + BOX_WIDTH
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {2 * height}" width="{width}" '
        f'height="{2 * height}" role="img">',
        f"<title>Map of the modules</title><style>{STYLE}</style>{HEAD}",
        _title(CALLS, 0),
        *_arrows("call", drawn.calls, calls_at),
        *_boxes(drawn, calls_at),
        _title(LISTENING, height),
        *_arrows("event", map(_reversed, drawn.listening), listening_at),
        *_boxes(drawn, listening_at),
        "</svg>",
    ]
    return "\n".join(lines)


def _columns(drawn: ModuleMap) -> list[list[ModuleOnMap]]:
    """Each module one column to the right of the last module that calls it."""
    column = dict.fromkeys((module.name for module in drawn.modules), 0)
    for _ in drawn.modules:  # a chain of calls can't be longer than the number of modules
        for call in drawn.calls:
            column[call.target] = max(column[call.target], min(column[call.source] + 1, len(column)))
    wanted = sorted(set(column.values()))
    return [[module for module in drawn.modules if column[module.name] == number] for number in wanted]


def _places(columns: list[list[ModuleOnMap]], top: int) -> dict[str, Place]:
    places = {}
    for number, column in enumerate(columns):
        for row, module in enumerate(column):
            places[module.name] = Place(number, row, top)
    return places


def _title(words: str, top: int) -> str:
    return f'<text class="title" x="{MARGIN}" y="{top + 30}">{escape(words)}</text>'


def _reversed(arrow: Arrow) -> Arrow:
    """The arrow in the direction of the events: towards the module that listens."""
    return Arrow(source=arrow.target, target=arrow.source, parts=arrow.events)


def _arrows(kind: str, arrows: Iterable[Arrow], places: dict[str, Place]) -> Iterator[str]:
    for arrow in arrows:
        tip = escape(f"{arrow.source} → {arrow.target}: {', '.join(arrow.parts)}")
        curve = _curve(places[arrow.source], places[arrow.target])
        yield f'<path class="{kind}" d="{curve}"><title>{tip}</title></path>'


def _boxes(drawn: ModuleMap, places: dict[str, Place]) -> Iterator[str]:
    for module in drawn.modules:
        yield from _box(module, places[module.name])


def _curve(source: Place, target: Place) -> str:
    """A curve between the facing sides of two boxes; two boxes of one column are joined around their right sides."""
    if source.x == target.x:
        x, y, end = source.x + BOX_WIDTH, source.y + BOX_HEIGHT // 2 + 12, target.y + BOX_HEIGHT // 2 - 12
        return f"M{x} {y}C{x + 60} {y} {x + 60} {end} {x} {end}"
    forwards = source.x < target.x
    start = source.x + (BOX_WIDTH if forwards else 0)
    end = target.x + (0 if forwards else BOX_WIDTH)
    shift = -10 if forwards else 10
    y, end_y = source.y + BOX_HEIGHT // 2 + shift, target.y + BOX_HEIGHT // 2 + shift
    half = (end - start) // 2
    return f"M{start} {y}C{start + half} {y} {end - half} {end_y} {end} {end_y}"


def _box(module: ModuleOnMap, place: Place) -> Iterator[str]:
    sagas = ", ".join(module.sagas[:MAX_SHOWN_SAGAS]) + (", …" if len(module.sagas) > MAX_SHOWN_SAGAS else "")
    yield f'<rect class="box" x="{place.x}" y="{place.y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
    shown = [("name", module.name), ("", module.counts), *([("", f"sagas: {sagas}")] if sagas else [])]
    for number, (style, words) in enumerate(shown):
        yield f'<text class="{style}" x="{place.x + 12}" y="{place.y + 22 + 20 * number}">{escape(words)}</text>'
