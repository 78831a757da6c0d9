"""What each service may ask of each other: exactly what the annotations of its modules' parts ask for."""

from collections.abc import Mapping

import msgspec

from craton.application.upcasting import stored_names
from craton.runtime.topology.topology import Topology
from craton.runtime.wiring import Wiring


class Link(msgspec.Struct, frozen=True):
    """What one service may ask of the others."""

    calls: frozenset[str]
    """The modules whose operations it may call."""
    feeds: Mapping[str, frozenset[str]]
    """The modules whose logs it may read, each with the types of events that it may see."""


def links(wiring: Wiring, topology: Topology, asked_by_all: frozenset[str]) -> dict[str, Link]:
    """The links of each service, by name. `asked_by_all` are modules that every service may call."""
    drawn = wiring.map
    found = {}
    for name, service in topology.services.items():
        own = frozenset(service.modules)
        calls = {arrow.target for arrow in drawn.calls if arrow.source in own} | asked_by_all
        feeds: dict[str, set[str]] = {}
        for module in own:
            for _, events in wiring.modules[module].reactions:
                for source, kinds in wiring.recorders(events).items():
                    feeds.setdefault(source, set()).update(stored_names(kinds))
        found[name] = Link(
            calls=frozenset(calls - own),
            feeds={source: frozenset(types) for source, types in feeds.items() if source not in own},
        )
    return found
