"""What a migration will take: time and money from rows and write units. Pure.

The price is on demand, us-east-1, standard tables (November 2024): 0.625 USD for a million write units. Every index
that an item is in costs the same again, and is not in these figures.
"""

from dataclasses import dataclass
from typing import Final

PRICE_USD_PER_MILLION: Final = 0.625
USUAL_RATES: Final = (4_000, 40_000)
"""A new on-demand table's first rate, and the default quota of a table."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """At so many write units a second."""

    units_per_s: float
    seconds: float


def estimate_times(units: int, limit: float | None) -> tuple[Estimate, ...]:
    """How long the writes alone take at the given rate, or at the usual ones."""
    return tuple(Estimate(rate, units / rate) for rate in ((limit,) if limit else USUAL_RATES))


def estimate_cost_usd(units: int, price_usd_per_million: float = PRICE_USD_PER_MILLION) -> float:
    """What the writes to the table cost."""
    return units / 1e6 * price_usd_per_million
