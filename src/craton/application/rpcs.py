"""The table of remote procedure calls: it maps each procedure of a gRPC service to a method of the API."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from craton.application.access import Access, signed_in
from craton.application.api import OperationDefinition, operation_of


class Rpc(msgspec.Struct, frozen=True):
    """One line of the table. The fields of the request are the method's parameters, those of the answer its result's.

    An id that is returned is the field `id` of the answer.
    """

    name: str
    operation: OperationDefinition
    caller: str | None = None
    """The parameter that holds the caller's own id: it is taken from the token, never from the request."""
    access: Access = signed_in


class Rpcs:
    """A module's gRPC service. `service` is its full name in the .proto file; `generated` is the module with the code
    that was generated from the file, which is imported only where gRPC is served."""

    def __init__(self, service: str, *rpcs: Rpc, generated: str) -> None:
        self.service = service
        self.generated = generated
        self._rpcs = rpcs

    def __iter__(self) -> Iterator[Rpc]:
        return iter(self._rpcs)


def rpc(name: str, handler: Callable[..., Any], *, caller: str | None = None, access: Access = signed_in) -> Rpc:
    return Rpc(name, operation_of(handler), caller, access)
