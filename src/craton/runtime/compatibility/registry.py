"""The policies that the modules have had, so that a renamed or moved one isn't treated as a new one.

A new policy begins with the first event of the log. That is right for a new policy, but a policy that was only renamed
or moved would do everything a second time. If one name is gone and another is new, the program can't tell which case it
is, so it asks for a declaration.
"""

from collections.abc import Sequence
from typing import Final

from craton.application.codec import decode, encode_text
from craton.application.errors import WiringError
from craton.application.module import Module
from craton.application.policy import full_name
from craton.ports import Changeset, Document, DocumentChanged, Store

DOCUMENT: Final = "policies"


async def register_policies(app: str, modules: Sequence[tuple[Module, Store]]) -> None:
    """Record the modules' policies in their stores. Raises `WiringError` if a new one may be a renamed one."""
    documents = {module.name: await store.document(DOCUMENT) for module, store in modules}
    known = {name: _names(document) for name, document in documents.items()}
    before = set[str]().union(*known.values())
    here = {policy for module, _ in modules for policy in module.policies}
    retired = {full_name(module.name, policy) for module, _ in modules for policy in module.retired}
    new, gone = here - before, before - here - retired
    if new and gone:
        raise WiringError(
            f"app {app}: {_listed(new)} is new among the policies and {_listed(gone)} is gone. If that is the same "
            f"policy renamed or moved, keep its name in the class (name = {min(gone)!r}), or it reacts to all that "
            f"ever happened once more. If it isn't, say Module(retired=[{min(gone)!r}])."
        )
    for module, store in modules:
        if module.policies.keys() - known[module.name]:
            await _note(module, store, documents[module.name])


async def _note(module: Module, store: Store, document: Document | None) -> None:
    while True:
        revision = 1 if document is None else document.revision + 1
        body = encode_text(sorted(_names(document) | module.policies.keys()))
        (outcome,) = await store.write([Changeset(documents=[Document(DOCUMENT, revision, body)])])
        if not isinstance(outcome, Exception):
            return
        if not isinstance(outcome, DocumentChanged):
            raise outcome
        document = await store.document(DOCUMENT)


def _names(document: Document | None) -> set[str]:
    return set() if document is None else decode(set[str], document.body)


def _listed(names: set[str]) -> str:
    return ", ".join(map(repr, sorted(names)))
