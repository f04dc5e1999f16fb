"""An item on its way to the table, and what became of it. Neighbours: `writer` and `inserts` send them."""

from dataclasses import dataclass
from enum import Enum

from proxy.migration.convert import Converted
from proxy.migration.queries import Key


class Outcome(Enum):
    """What became of an item."""

    WRITTEN = "written"
    SKIPPED = "skipped"  # the table had this version, or a newer one
    REFUSED = "refused"  # DynamoDB does not take it


@dataclass(frozen=True, slots=True)
class Write:
    """An item on its way, and the row it is of. `again`: this version may have been written by this migration."""

    key: Key
    converted: Converted
    again: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """How it went; `reason` is DynamoDB's, where it refused."""

    write: Write
    outcome: Outcome
    reason: str = ""
