"""The map of modules as plain text, and as Mermaid diagrams."""

from collections.abc import Iterator

from craton.runtime.module_map import Arrow, ModuleMap, ModuleOnMap
from craton.runtime.topology import Topology


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


def remote_edges(drawn: ModuleMap, topology: Topology, authenticates: str | None) -> Iterator[str]:
    """The arrows of the map that lead from one service to another, each with what it costs there; `authenticates` is
    the module that finds callers by their tokens."""
    calls = [arrow for arrow in drawn.calls if _is_remote(arrow, topology)]
    heard = [arrow for arrow in drawn.listening if _is_remote(arrow, topology)]
    for name, service in topology.services.items():
        times = f", {service.replicas} replicas" if service.replicas > 1 else ""
        yield f"{name}: {', '.join(service.modules)}{times}"
    if authenticates is not None and len(topology.services) > 1:
        finds = topology.service_of(authenticates).name
        others = [name for name in topology.services if name != finds]
        yield (
            f"  {', '.join(others)} → {finds}.{authenticates}: each request with a token that isn't remembered is a "
            "request"
        )
    if not calls and not heard:
        yield "Nothing becomes remote."
        return
    for arrow in calls:
        yield f"  {_ends(arrow, topology)}: each call of {', '.join(arrow.parts)} is a request"
    for arrow in heard:
        yield f"  {_ends(arrow, topology)}: {', '.join(arrow.parts)} read {', '.join(arrow.events)} over HTTP"
    yield (
        "A request between two services of one host costs about 0.2 ms more than a call in one process, between two "
        "hosts a round trip; a service that is away makes these calls fail, and these readers wait. The metric "
        "craton_calls_total of a process that runs all modules says how many calls there are."
    )


def _is_remote(arrow: Arrow, topology: Topology) -> bool:
    return topology.service_of(arrow.source) is not topology.service_of(arrow.target)


def _ends(arrow: Arrow, topology: Topology) -> str:
    source, target = topology.service_of(arrow.source), topology.service_of(arrow.target)
    return f"{source.name}.{arrow.source} → {target.name}.{arrow.target}"


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
