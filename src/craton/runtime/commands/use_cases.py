"""Runs the commands and queries of a module.

A command with an idempotency key that was answered before gets the same answer. Nearly every key is new, so a key isn't
looked up before the command runs, unless its sender knows better: the commit finds out that it was used, and writes
nothing. A command that fails without a commit under its key (a refusal that isn't kept, another module that can't be
reached, an error) is believed only after the key was looked up, because the same request may have succeeded before.
"""

from collections.abc import Coroutine
from typing import Any, Final

from craton.application.api import Api, OperationDefinition
from craton.application.codec import encode_text
from craton.application.context import Context, context_var
from craton.application.errors import (
    AnswerNotKept,
    KeyReused,
    MisuseError,
    NeedsNewerProgram,
    Overtaken,
    Unavailable,
    UnusableKey,
)
from craton.application.unit_of_work import UnitOfWork, current_unit, dual_write, enter_unit, leave_unit, require_unit
from craton.application.upcasting import UndecodableEvent
from craton.domain import DomainError
from craton.ports import Changeset, KeyTaken, StoreUnavailable
from craton.ports.wellformed import storable
from craton.runtime.commands.execution import Execution, Resources
from craton.runtime.commands.results import Answer, Request, kept_refusal
from craton.runtime.process.attempt import in_time

MAX_KEY_LENGTH: Final = 200
"""The limit for clients' keys, in characters."""
MAX_STORED_KEY_LENGTH: Final = 1_000
"""The limit for all keys, in characters: those of policies and sagas consist of several names."""


class UseCases:
    """The use cases of one module."""

    def __init__(self, service: Api, resources: Resources) -> None:
        self._service = service
        self._resources = resources

    async def run(
        self, operation: OperationDefinition, arguments: dict[str, Any], context: Context, *, timer: str | None = None
    ) -> Answer:
        """Run a use case. `timer` is the timer that asked for it; the timer is done in the use case's commit.

        A timer's refusal that was committed, so that the timer is done, is returned as the result and isn't raised.
        Raises what the use case raises, and `Unavailable` or `DeadlineExceeded`, which say whether it may have run.
        """
        remaining = context.remaining()
        token = context_var.set(context)
        try:
            if operation.kind == "query":
                return await _within(remaining, self._query(operation, arguments, context), executed=False)
            outer = current_unit()
            if outer is not None:
                require_unit(str(operation))
                return await self._join(outer, operation, arguments)
            execution = Execution(self._resources, self._service, operation, arguments, context, timer)
            return await _within(remaining, self._command(execution, operation, arguments, context), executed=True)
        except StoreUnavailable as problem:
            raise Unavailable(str(problem), maybe_executed=problem.maybe_executed) from problem
        except UndecodableEvent as problem:
            if not problem.is_newer:
                raise
            raise NeedsNewerProgram(str(problem)) from problem
        finally:
            context_var.reset(token)

    async def _query(self, operation: OperationDefinition, arguments: dict[str, Any], context: Context) -> Answer:
        resources = self._resources
        unit = UnitOfWork(resources.module, resources.store, context, resources.clock, read_only=True, fresh=True)
        token = enter_unit(unit)
        try:
            result = operation.shown(await getattr(self._service, operation.name)(**arguments))
        finally:
            leave_unit(token)
        if unit.dirty:
            raise MisuseError(f"{operation} is a query, but it has changed something; make it a command")
        for tracked in unit.tracked.values():
            resources.aggregates.require_replayable(tracked)
        return Answer(result)

    async def _join(self, outer: UnitOfWork, operation: OperationDefinition, arguments: dict[str, Any]) -> Answer:
        module = self._resources.module
        if outer.module != module or outer.read_only:
            raise dual_write(str(operation), module, outer)
        return Answer(await getattr(self._service, operation.name)(**arguments))

    async def _command(
        self, execution: Execution, operation: OperationDefinition, arguments: dict[str, Any], context: Context
    ) -> Answer:
        key = context.key
        if key is None:
            return await execution.run()
        require_usable_key(key.text)
        scope = encode_text([context.tenant, context.actor, str(operation)])
        request = execution.request = Request(
            scope, key.text, operation.fingerprint(arguments), self._resources.clock()
        )
        results = self._resources.results
        async with self._resources.queues.take([f"key {scope} {key}"]):
            if key.settles:
                return await self._settle(operation, request)
            known = await results.look_up(operation, request) if key.is_repeated else None
            try:
                return known or await execution.run()
            except Exception as problem:
                replay = None if _is_final(problem, execution) else await results.look_up(operation, request)
                if replay is None:
                    raise
                return replay

    async def _settle(self, operation: OperationDefinition, request: Request) -> Answer:
        """Answer with the outcome of the command that had this key; if it hasn't run, take its key, so it never
        runs."""
        overtaken = Overtaken()
        try:
            await self._resources.committer.submit(Changeset(result=kept_refusal(request, overtaken)))
        except KeyTaken:
            return await self._resources.results.given(operation, request)
        raise overtaken


def _is_final(problem: Exception, execution: Execution) -> bool:
    """Whether a failure was the answer to the key, or says by itself that the command may have run."""
    if isinstance(problem, DomainError):
        return execution.keeps(problem)
    return isinstance(problem, KeyReused | AnswerNotKept) or getattr(problem, "maybe_executed", False)


def _within(seconds: float | None, work: Coroutine[Any, Any, Answer], *, executed: bool) -> Coroutine[Any, Any, Answer]:
    return work if seconds is None else in_time(seconds, work, executed=executed)


def require_usable_key(key: str) -> None:
    """Raise `UnusableKey` for a key that no store can keep."""
    if not 0 < len(key) <= MAX_STORED_KEY_LENGTH or not storable(key):
        raise UnusableKey()
