"""What an application with sagas shows of them, and what operators may do to them."""

from typing import Final

from craton.adapters.http.system import ADMIN
from craton.application.routes import Routes, get, post
from craton.runtime.sagas.control import SagaControl

saga_routes: Final = Routes(
    get("/v1/sagas", SagaControl.sagas, access=ADMIN),
    get("/v1/sagas/{saga}", SagaControl.saga),
    get("/v1/sagas/{saga}/events", SagaControl.events, access=ADMIN),
    post("/v1/sagas/{saga}/retry", SagaControl.retry, status=204, access=ADMIN),
    post("/v1/sagas/{saga}/skip", SagaControl.skip, status=204, access=ADMIN),
    post("/v1/sagas/{saga}/compensate", SagaControl.compensate, status=204, access=ADMIN),
    post("/v1/sagas/{saga}/resolve", SagaControl.resolve, status=204, access=ADMIN),
)
