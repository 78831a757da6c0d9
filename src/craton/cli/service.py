"""craton readers, leases and audit: the state of a service, which process does what, and what operators have done."""

from craton.cli.operators import every, operate
from craton.cli.options import AppName, AsJson, Data, StoreUrl
from craton.cli.output import print_records
from craton.runtime.app import App


def readers(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List the readers of the logs (projections, policies, steps of sagas, seals), and the progress of each."""

    async def show(loaded: App) -> None:
        columns = ("module", "name", "kind", "source", "position", "lag", "parked", "owner")
        print_records(await loaded.operations.readers(), columns, as_json=as_json)

    operate(show, app, data, store)


def leases(app: AppName = None, data: Data = None, store: StoreUrl = None, as_json: AsJson = False) -> None:
    """List the leases: which process does the work that only one process may do at a time."""

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
