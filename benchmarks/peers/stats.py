"""What every peer reports: percentiles of its latencies, as one JSON line."""

from __future__ import annotations

import json
from collections.abc import Sequence


def percentile_ms(sorted_seconds: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile of sorted latencies, in milliseconds."""
    index = min(int(len(sorted_seconds) * fraction), len(sorted_seconds) - 1)
    return round(sorted_seconds[index] * 1000, 3)


def latency_report(latencies: Sequence[float]) -> dict[str, float]:
    if not latencies:
        raise SystemExit("no operation finished within the time given")
    ordered = sorted(latencies)
    return {"p50_ms": percentile_ms(ordered, 0.50), "p99_ms": percentile_ms(ordered, 0.99)}


def print_report(report: dict[str, float]) -> None:
    print(json.dumps(report), flush=True)
