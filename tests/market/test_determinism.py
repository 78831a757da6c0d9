"""The whole market runs alike, to the last bit, when time and chance are alike."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

LONG, SHORT = 1_000, 60
"""Seconds of virtual time. The long one is more than the fifteen minutes for which an unpaid order keeps its goods."""


def digest(seed: int, seconds: int, hash_seed: int) -> str:
    """Run the market for some virtual time, in a process whose sets are ordered in another way."""
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    command = [sys.executable, "-m", "tests.market.simulated", str(seed), str(seconds)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return ended.stdout.splitlines()[-1]


def test_a_time_with_the_same_seed_is_the_same_time() -> None:
    with ThreadPoolExecutor() as pool:
        first, again = pool.map(digest, (1, 1), (LONG, LONG), (1, 2))

    assert first == again


def test_another_seed_makes_another_history() -> None:
    assert digest(1, SHORT, 1) != digest(2, SHORT, 1)
