"""The dependencies of a module's parts, as the annotations of their parameters declare them."""

from typing import Any, get_type_hints

from craton.application.errors import WiringError

Dependencies = dict[str, Any]
"""The annotation of each parameter, by its name."""


def dependencies_of(function: Any, where: str) -> Dependencies:
    """Return the dependencies of a constructor or function. Raises `WiringError` for a missing annotation."""
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
