"""Finds the module that a saga belongs to, for questions and commands about sagas."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from craton.application.api import OperationDefinition, operation_of
from craton.application.context import Context
from craton.application.page import MAX_PAGE_SIZE, Page, Paging
from craton.application.sagas.events import SagaId
from craton.application.sagas.refusals import SagaNotFound
from craton.domain import Conflict
from craton.runtime.commands.results import Answer
from craton.runtime.module import RunningModule
from craton.runtime.sagas.control import SagaControl
from craton.runtime.sagas.host import SagaHost
from craton.runtime.sagas.view import SagaSummary

_LIST = operation_of(SagaControl.sagas)
_FIND = operation_of(SagaControl.saga)


class AmbiguousSaga(Conflict):
    """Two modules have a saga with this id, so the id isn't enough to choose one."""


async def call_sagas(
    running: Mapping[str, RunningModule], operation: OperationDefinition, arguments: dict[str, Any], context: Context
) -> Answer:
    """Run an operation of `SagaControl`. Raises `SagaNotFound` or `AmbiguousSaga` unless exactly one module has the
    saga."""
    hosts = [module.sagas for module in running.values() if module.sagas is not None]
    if operation is _LIST:
        return Answer(await _list(hosts, arguments, context))
    having = [host for host in hosts if await _has(host, arguments["saga"], context)] if len(hosts) > 1 else hosts
    if not having:
        raise SagaNotFound(id=arguments["saga"])
    if len(having) > 1:
        raise AmbiguousSaga()
    return await having[0].use_cases.run(operation, arguments, context)


async def _has(host: SagaHost, saga: SagaId, context: Context) -> bool:
    try:
        await host.use_cases.run(_FIND, {"saga": saga}, Context(deadline=context.deadline))
    except SagaNotFound:
        return False
    return True


async def _list(hosts: list[SagaHost], arguments: dict[str, Any], context: Context) -> Page[SagaSummary]:
    """A page of the sagas of all modules, newest first. Each module is asked for all that may be on or before this
    page."""
    paging: Paging = arguments["paging"]
    wanted = paging.offset + paging.page_size
    total, found = 0, list[list[SagaSummary]]()
    for host in hosts:
        newest: list[SagaSummary] = []
        page = 0
        while True:
            page += 1
            part: Page[SagaSummary] = (
                await host.use_cases.run(_LIST, {**arguments, "paging": Paging(page, MAX_PAGE_SIZE)}, context)
            ).result
            newest += part.items
            if len(newest) >= wanted or page >= part.total_pages:
                break
        total += part.total
        found.append(newest)
    items = sorted(chain.from_iterable(found), key=lambda saga: saga.started_at, reverse=True)
    return Page.of(items[paging.offset : wanted], total, paging)
