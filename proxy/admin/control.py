"""What the admin API may ask of the running proxy, and the ways it may be told no.

The API knows HTTP and this protocol, and nothing of the data plane; `supervisor.control` implements it.
Neighbour: `api`.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RolloutChange:
    """A wish to change the rollout; None leaves a value as it is.

    `if_match` is the revision that the wish was made on (None: any). `persist` writes the configuration file;
    otherwise the change is an override.
    """

    percentage: int | None = None
    enabled: bool | None = None
    if_match: str | None = None
    persist: bool = True


@dataclass(frozen=True, slots=True)
class RolloutOutcome:
    """What is in force after a change. `note` says what differs from the plain case, for people."""

    percentage: int
    enabled: bool
    revision: str
    persisted: bool
    note: str | None = None


class RevisionMismatch(Exception):
    """The configuration is not (any more) the one that the change was made on: `current` is in force."""

    def __init__(self, current: str) -> None:
        super().__init__(f"the revision in force is {current}")
        self.current = current


class NotPersistable(Exception):
    """The configuration file can't be written; nothing was changed."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Control(Protocol):
    """The running proxy, as its operators see it. Changes return when they are in force in every worker."""

    def ready(self) -> bool:
        """Whether requests are being served: not while starting or draining."""

    def revision(self) -> str:
        """Name the configuration in force."""

    async def status(self) -> dict[str, object]:
        """Give the body of `/status`."""

    def explain(self, user: str | None, method: str, path: str) -> dict[str, object]:
        """Say what would be decided and why. Raises ValueError with a sentence for an impossible request."""

    def effective_config(self) -> dict[str, object]:
        """Give the configuration in force, defaults filled in, secrets masked, user lists as counts."""

    async def expose_metrics(self, accept: str) -> tuple[bytes, str]:
        """Give the scrape's body and content type."""

    def admin_token(self) -> str | None:
        """Give the token that changes need, if one is set."""

    def listens_on_loopback_only(self) -> bool:
        """Whether nothing but this machine can reach the admin port."""

    async def change_rollout(self, change: RolloutChange) -> RolloutOutcome:
        """Change the rollout. Raises RevisionMismatch or NotPersistable, and has then changed nothing."""

    async def roll_back(self) -> RolloutOutcome:
        """Set percentage 0 and enabled false, as an override when the file can't be written."""
