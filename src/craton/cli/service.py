"""craton readers, leases and audit: how a service is doing, who does what in it, and what operators have done."""

from craton.cli.operators import every, operate
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_records
from craton.runtime.app import App


def readers(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List what reads the logs (projections, policies, steps of sagas, seals), and how far each is."""

    async def show(loaded: App) -> None:
        columns = ("module", "name", "kind", "source", "position", "lag", "parked", "owner")
        print_records(await loaded.operations.readers(), columns, as_json=as_json)

    operate(show, app, data, store)


def leases(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List which process does what only one may do at a time."""

    async def show(loaded: App) -> None:
        columns = ("module", "name", "owner", "number", "held")
        print_records(await loaded.operations.leases(), columns, as_json=as_json)

    operate(show, app, data, store)


def audit(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List what operators have done, newest first."""

    async def show(loaded: App) -> None:
        columns = ("time", "module", "operator", "verb", "subject", "reason")
        print_records(await every(loaded.operations.audit), columns, as_json=as_json)

    operate(show, app, data, store)
