"""Which parts of the key are read side by side. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from proxy.migration.queries import Key


@dataclass(frozen=True, slots=True)
class Range:
    """The keys above `after` up to `until`, which is included; None has no bound on that side."""

    number: int
    after: Key | None
    until: Key | None


def split_ranges(sample: Sequence[Key], parts: int) -> list[Range]:
    """Up to `parts` ranges that hold about as many of the sampled keys each. `sample` is in the table's order.

    Together they hold every key there can be, whatever was sampled.
    """
    distinct = list(dict.fromkeys(sample))
    parts = max(1, min(parts, len(distinct)))
    bounds: list[Key | None] = [distinct[len(distinct) * part // parts - 1] for part in range(1, parts)]
    edges = [None, *dict.fromkeys(bounds), None]
    return [Range(number, after, until) for number, (after, until) in enumerate(pairwise(edges))]
