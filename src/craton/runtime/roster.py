"""Which policies a module has had, so that a renamed one isn't taken for a new one.

A new policy begins with the first event there ever was: right for what is new, a second effect of everything for what
only has another name now. Which of the two it is can't be seen when one name is gone and another is new, so the program
is asked to say it.
"""

from typing import Final

from craton.application.codec import decode, encode_text
from craton.application.errors import WiringError
from craton.application.module import Module
from craton.ports import Document, DocumentChanged, Store, Unit

DOCUMENT: Final = "policies"


async def enrol(module: Module, store: Store) -> None:
    """Note the module's policies in its store. Raises `WiringError` when one of them may be another one renamed."""
    while True:
        document = await store.document(DOCUMENT)
        known = set() if document is None else decode(set[str], document.body)
        new = module.policies.keys() - known
        if not new:
            return
        gone = known - module.policies.keys() - set(module.retired)
        if gone:
            raise WiringError(
                f"module {module.name}: {_listed(new)} is new among its policies and {_listed(gone)} is gone. If that "
                f'is the same policy renamed, keep its name in the class (name = "…"), or it reacts to all that ever '
                f"happened once more. If it isn't, say Module(retired=[…]) of what is gone."
            )
        revision = 1 if document is None else document.revision + 1
        body = encode_text(sorted(known | new))
        (outcome,) = await store.write([Unit(documents=[Document(DOCUMENT, revision, body)])])
        if not isinstance(outcome, Exception):
            return
        if not isinstance(outcome, DocumentChanged):
            raise outcome


def _listed(names: set[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
