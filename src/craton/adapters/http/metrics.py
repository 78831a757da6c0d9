"""The metrics, for Prometheus.

Where several workers serve, each counts its own requests in a file, by the client library's means for that, and any of
them shows the sum. All other metrics are looked up when they are asked for, and are the same for all.
"""

import asyncio
import contextlib
import os
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from craton.application.errors import Unavailable
from craton.ports import StoreUnavailable
from craton.runtime.app import App
from craton.runtime.compatibility.readers import Reader
from craton.runtime.module import RunningModule
from craton.runtime.operations.readers import heads_of

LOOK_SECONDS = 5.0
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Heads = dict[str, int | None]
"""The newest position of each module's log; None if its store can't be reached."""


class _Merged:
    """What several processes have counted, as a registry."""

    def __init__(self, files: list[str]) -> None:
        self._files = files

    def collect(self) -> Any:
        return MultiProcessCollector.merge(self._files)  # type: ignore[no-untyped-call]


class _Calls:
    """How often modules have called each other in this process, as a registry: what services would cost."""

    def __init__(self, app: App) -> None:
        self._app = app

    def collect(self) -> Any:
        family = CounterMetricFamily("craton_calls", "Calls from one module to another.", labels=("from", "to"))
        for (caller, called), count in sorted(self._app.calls.items()):
            family.add_metric((caller, called), count)
        yield family


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Lock()
        self._registry = CollectorRegistry()
        self._counted = CollectorRegistry()
        self._requests = Counter(
            "craton_http_requests",
            "Answered requests.",
            ("method", "route", "status"),
            registry=self._counted,
        )
        self._seconds = Histogram(
            "craton_http_request_seconds",
            "Time from the first byte of a request to its answer.",
            ("method", "route"),
            registry=self._counted,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        self._of_requests: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        labels = ("module", "projection")
        self._lag = Gauge("craton_projection_lag_events", "Events not yet projected.", labels, registry=self._registry)
        self._parked = Gauge("craton_projection_parked_events", "Parked events.", labels, registry=self._registry)
        labels = ("reader", "source")
        self._behind = Gauge(
            "craton_reader_lag_events",
            "Events of a module that a policy, or a step of a saga that waits, has not come to yet.",
            labels,
            registry=self._registry,
        )
        self._stopped = Gauge(
            "craton_reader_parked_events", "Parked events of policies and of steps.", labels, registry=self._registry
        )
        self._timers = Gauge("craton_timers_parked", "Parked timers.", ("module",), registry=self._registry)
        self._sagas = Gauge(
            "craton_sagas_open",
            "Sagas that have not ended.",
            ("module", "saga", "status"),
            registry=self._registry,
        )
        self._up = Gauge("craton_store_up", "Whether the store answers.", ("module",), registry=self._registry)
        self._log_position = Gauge("craton_log_position", "Newest position.", ("module",), registry=self._registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `method`, `route` and `status` each have few values, so their metrics are kept at hand."""
        known = self._of_requests.get((method, route, status))
        if known is None:
            known = self._requests.labels(method, route, status), self._seconds.labels(method, route)
            self._of_requests[method, route, status] = known
        requests, times = known
        requests.inc()
        times.observe(seconds)

    async def text(self, app: App) -> bytes:
        """The present metrics. A module whose store can't be reached only has the metric that says so."""
        async with self._one_at_a_time:
            gauges = (self._up, self._log_position, self._lag, self._parked, self._behind, self._stopped)
            for gauge in (*gauges, self._timers, self._sagas):
                gauge.clear()
            readers: defaultdict[str, list[Reader]] = defaultdict(list)
            for reader in app.event_readers:
                readers[reader.home].append(reader)
            heads = await heads_of(app.running)
            for name in app.running:
                if (head := heads[name]) is not None:
                    self._log_position.labels(name).set(head)
            await asyncio.gather(
                *(self._look_at(name, running, readers[name], heads) for name, running in app.running.items())
            )
            return self._of_all_workers() + generate_latest(self._registry) + generate_latest(_Calls(app))

    def _of_all_workers(self) -> bytes:
        """The metrics of requests, of all processes that serve the application here."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if folder is None:
            return generate_latest(self._counted)
        files = [str(file) for kind in ("counter", "histogram") for file in Path(folder).glob(f"{kind}_*.db")]
        return generate_latest(_Merged(files))

    async def _look_at(self, name: str, running: RunningModule, readers: Sequence[Reader], heads: Heads) -> None:
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                await self._look_into(name, running, readers, heads)
        except (StoreUnavailable, TimeoutError):
            self._up.labels(name).set(0)
        else:
            self._up.labels(name).set(1)

    async def _look_into(self, name: str, running: RunningModule, readers: Sequence[Reader], heads: Heads) -> None:
        for projection in running.projections.values():
            progress = await projection.progress()
            if progress.lag is not None:
                self._lag.labels(name, progress.projection).set(progress.lag)
            self._parked.labels(name, progress.projection).set(progress.parked + progress.parked_building)
        parked = Counts(entry.subscription for entry in await running.store.parked()) if readers else Counts()
        for reader in readers:
            head = heads[reader.source]
            if head is not None:
                lag = max(0, head - await running.store.checkpoint(reader.full_name))
                self._behind.labels(reader.name, reader.source).set(lag)
            self._stopped.labels(reader.name, reader.source).set(parked[reader.full_name])
        self._timers.labels(name).set(len(await running.store.parked_timers()))
        if running.sagas is not None:
            with contextlib.suppress(Unavailable):  # the read model of sagas is being built
                for (saga, status), count in (await running.sagas.open()).items():
                    self._sagas.labels(name, saga, status).set(count)
