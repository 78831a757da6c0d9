"""The map of modules as plain text, and as Mermaid diagrams."""

from collections.abc import Iterator

from craton.runtime.module_map import Arrow, ModuleMap, ModuleOnMap


def text(drawn: ModuleMap) -> str:
    """Module by module: what it offers, what it calls, and what it listens to."""
    return "\n\n".join("\n".join(_paragraph(drawn, module)) for module in drawn.modules)


def _paragraph(drawn: ModuleMap, module: ModuleOnMap) -> Iterator[str]:
    yield f"{module.name}: {module.api}"
    for what, names in (("queries", module.queries), ("commands", module.commands), ("sagas", module.sagas)):
        if names:
            yield f"  {what}: {', '.join(names)}"
    for arrow in drawn.calls:
        if arrow.source == module.name:
            yield f"  calls {arrow.target}: {', '.join(arrow.parts)}"
    for arrow in drawn.listening:
        if arrow.source == module.name:
            yield f"  listens to {arrow.target}: {', '.join(arrow.parts)} ({', '.join(arrow.events)})"


def mermaid(drawn: ModuleMap) -> str:
    """Two flowcharts, one of calls and one of listening; the arrows of the second show the direction of the events."""
    calls = [f"    {arrow.source} --> {arrow.target}" for arrow in drawn.calls]
    listening = [f"    {arrow.target} -. {_lines(arrow)} .-> {arrow.source}" for arrow in drawn.listening]
    boxes = [f'    {module.name}["{_box(module)}"]' for module in drawn.modules]
    return "\n".join(
        [
            "%% Calls: from the module that calls to the one that is called.",
            "flowchart LR",
            *boxes,
            *calls,
            "",
            "%% Listening: from the module that records events to the one that hears of them.",
            "flowchart LR",
            *listening,
        ]
    )


def _box(module: ModuleOnMap) -> str:
    sagas = f"<br/>sagas: {', '.join(module.sagas)}" if module.sagas else ""
    return f"<b>{module.name}</b><br/>{module.counts}{sagas}"


def _lines(arrow: Arrow) -> str:
    return f'"{"<br/>".join(arrow.events)}"'
