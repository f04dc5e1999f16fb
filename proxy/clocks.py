"""The clock on the wall. Everything that is timed takes `time.perf_counter` or its event loop's clock instead."""

import time


def wall_clock() -> float:
    """Seconds since the epoch, for logs and for people only: it may jump."""
    return time.time_ns() / 1e9
