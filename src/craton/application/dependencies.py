"""What a part of a module asks to be given, by the annotations of its parameters."""

from typing import Any, get_type_hints

from craton.application.errors import WiringError

Dependencies = dict[str, Any]
"""The annotation of each parameter."""


def dependencies_of(function: Any, where: str) -> Dependencies:
    """Return what a constructor or function asks for. Raises `WiringError` for a missing annotation."""
    if function is object.__init__:
        return {}
    hints = get_type_hints(function)
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    asked = [name for name in names if name != "self"]
    for name in asked:
        if name not in hints:
            raise WiringError(f"{where}: parameter {name!r} has no annotation")
    return {name: hints[name] for name in asked}
