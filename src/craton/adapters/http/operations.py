"""The routes of operators: what they see of a service, and what they can do to it."""

from craton.application.access import only
from craton.application.routes import Routes, get, post
from craton.runtime.app import App
from craton.runtime.operations.api import Operations


def operators_routes(app: App) -> Routes:
    """The route table for the roles that the app names as operators; a saga is also open to its own user."""
    operators = only(*app.operators)
    routes = (
        get("/v1/admin/readers", Operations.readers, access=operators),
        get("/v1/admin/projections", Operations.projections, access=operators),
        get("/v1/admin/projections/{name}", Operations.projection, access=operators),
        post(
            "/v1/admin/projections/{name}/rebuild",
            Operations.rebuild_projection,
            status=202,
            location="/v1/admin/projections/{module}.{projection}",
            access=operators,
        ),
        post("/v1/admin/projections/{name}/rollback", Operations.roll_back_projection, access=operators),
        get("/v1/admin/parked", Operations.parked, access=operators),
        post("/v1/admin/parked/retry", Operations.retry_parked, status=202, access=operators),
        post("/v1/admin/parked/drop", Operations.drop_parked, status=202, access=operators),
        get("/v1/admin/timers", Operations.timers, access=operators),
        post("/v1/admin/timers/{module}/{timer}/retry", Operations.retry_timer, status=204, access=operators),
        post("/v1/admin/timers/{module}/{timer}/drop", Operations.drop_timer, status=204, access=operators),
        get("/v1/admin/leases", Operations.leases, access=operators),
        get("/v1/admin/events", Operations.events, access=operators),
        get("/v1/admin/streams/{stream}", Operations.stream, access=operators),
        get("/v1/admin/audit", Operations.audit, access=operators),
    )
    if not any(module.sagas for module in app.wiring.modules.values()):
        return Routes(*routes)
    return Routes(
        *routes,
        get("/v1/sagas", Operations.sagas, access=operators),
        get("/v1/sagas/{saga}", Operations.saga),
        get("/v1/sagas/{saga}/events", Operations.saga_events, access=operators),
        post("/v1/sagas/{saga}/retry", Operations.retry_saga, status=204, access=operators),
        post("/v1/sagas/{saga}/skip", Operations.skip_saga_step, status=204, access=operators),
        post("/v1/sagas/{saga}/compensate", Operations.compensate_saga, status=204, access=operators),
        post("/v1/sagas/{saga}/resolve", Operations.resolve_saga, status=204, access=operators),
    )
