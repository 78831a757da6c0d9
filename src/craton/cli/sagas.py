"""craton sagas: processes over several modules, and what operators do about one that is stuck."""

from typing import Annotated, Any

import msgspec
import typer

from craton.application.sagas.events import SagaId
from craton.application.sagas.state import Status
from craton.cli.load import fail, out
from craton.cli.operators import Reason, every, operate, text
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_json, print_records
from craton.runtime.app import App

cli = typer.Typer(no_args_is_help=True, help="Processes over several modules, and the commands for one that is stuck.")

Id = Annotated[str, typer.Argument(metavar="ID", help="The saga, as `craton sagas list` shows it.")]
Step = Annotated[str, typer.Argument(help="The step, as `craton sagas show` shows it.")]
Kind = Annotated[str | None, typer.Option(help="Only sagas of this kind, such as Checkout.")]
InStatus = Annotated[Status | None, typer.Option("--status", help="Only sagas with this status.")]
Code = Annotated[str | None, typer.Option(help="Only sagas that compensate because of this refusal.")]
Fields = Annotated[str | None, typer.Option("--value", help="Values of the saga's fields, as a JSON object.")]


@cli.command("list")
def list_(
    kind: Kind = None,
    status: InStatus = None,
    code: Code = None,
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """List sagas, newest first."""

    async def show(loaded: App) -> None:
        found = await every(loaded.operations.sagas, kind=kind, status=status, code=code)
        print_records(found, ("id", "saga", "status", "code", "reason", "started_at", "ended_at"), as_json=as_json)

    operate(show, app, data, store)


@cli.command()
def show(id: Id, app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """Show the state of a saga, step by step."""

    async def print_saga(loaded: App) -> None:
        saga = await loaded.operations.saga(_saga(id))
        if as_json:
            print_json(saga)
            return
        why = "; ".join(filter(None, (saga.code, saga.reason, saga.note)))
        out.print(f"{saga.saga} {saga.id}: {saga.status}{f' ({why})' if why else ''}", markup=False)
        print_records(saga.steps, ("name", "status", "attempts", "undo_attempts", "retry_at", "error"), as_json=False)

    operate(print_saga, app, data, store)


@cli.command()
def retry(id: Id, reason: Reason = "", app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Try again what has failed in a stuck saga."""

    async def carry_out(loaded: App) -> None:
        await loaded.operations.retry_saga(_saga(id), text(reason))
        out.print(f"{id} goes on as soon as a server runs.", markup=False)

    operate(carry_out, app, data, store)


@cli.command()
def skip(
    id: Id,
    step: Step,
    value: Fields = None,
    reason: Reason = "",
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """Count a step, or its compensation, as done without running it."""

    async def carry_out(loaded: App) -> None:
        await loaded.operations.skip_saga_step(_saga(id), step, text(reason), _fields(value))
        out.print(f"{step} of {id} counts as done.", markup=False)

    operate(carry_out, app, data, store)


@cli.command()
def compensate(id: Id, reason: Reason = "", app: AppName = None, data: Data = None, store: StoreUrl = None) -> None:
    """Undo the steps that a saga has done."""

    async def carry_out(loaded: App) -> None:
        await loaded.operations.compensate_saga(_saga(id), text(reason))
        out.print(f"{id} compensates as soon as a server runs.", markup=False)

    operate(carry_out, app, data, store)


@cli.command()
def resolve(
    id: Id,
    note: Annotated[str, typer.Option(help="How the matter was settled; the note is recorded.")],
    app: AppName = None,
    data: Data = None,
    store: StoreUrl = None,
) -> None:
    """End a saga in its present state, because the matter was settled by other means."""

    async def carry_out(loaded: App) -> None:
        await loaded.operations.resolve_saga(_saga(id), text(note))
        out.print(f"{id} is resolved.", markup=False)

    operate(carry_out, app, data, store)


def _saga(text: str) -> SagaId:
    try:
        return SagaId(text)
    except ValueError:
        fail(f"{text!r} isn't the id of a saga.", 2)


def _fields(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        fail(f"--value must be a JSON object: {problem}.", 2)
