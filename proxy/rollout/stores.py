"""Where the percentage is put: one small interface, and the configuration file as the first of its kind.

Neighbours: `sidecar_store` and `configmap_store` are the other kinds, `controller` applies steps, `place` compares
what is read.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from proxy.core.model import OTHER_OPERATION, Role, Route
from proxy.rollout.decision import Step
from proxy.rollout.place import InForce
from proxy.rollout.plan import Plan
from proxy.rollout.tally import Layout
from proxy.settings.edit import NotWritable, RevisionMismatch, edit_rollout
from proxy.settings.errors import ConfigError
from proxy.settings.load import LoadedSettings, load_settings


class StoreError(Exception):
    """It can't be read, or a step could not be taken; the text says why, and what is in force now if that differs."""


class Store(Protocol):
    """Where the rollout's percentage is kept."""

    async def read(self) -> InForce:
        """Read what it holds. Raises StoreError."""

    async def apply(self, step: Step) -> None:
        """Put a step in force: taken twice it does no more than once.

        A step forward is taken everywhere or nowhere, a step back wherever it can be. Raises StoreError.
        """

    async def close(self) -> None:
        """Close what is open."""


class FileStore:
    """The configuration file; its sidecars watch it."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self._path = path
        self._env = env

    def __repr__(self) -> str:
        return f"<FileStore {self._path}>"

    async def read(self) -> InForce:
        """See Store."""
        try:
            loaded = await asyncio.to_thread(load_settings, self._path, self._env)
        except ConfigError as error:
            raise StoreError(f"the configuration is not valid: {error.problems[0]}") from error
        rollout = loaded.settings.rollout
        return InForce(
            places={str(self._path): (rollout.percentage, rollout.enabled)},
            revisions=frozenset((loaded.revision,)),
            layout=layout_of(loaded),
            kill_switch=_is_there(rollout.kill_switch_file),
        )

    async def apply(self, step: Step) -> None:
        """See Store."""
        try:
            await asyncio.to_thread(
                edit_rollout, self._path, self._env, percentage=step.percentage, enabled=step.enabled
            )
        except ConfigError as error:
            raise StoreError(f"the configuration is not valid: {error.problems[0]}") from error
        except (NotWritable, RevisionMismatch, OSError) as error:
            raise StoreError(f"{self._path} can't be changed: {error}") from error

    async def close(self) -> None:
        """See Store."""


def _is_there(file: str | None) -> bool:
    return file is not None and Path(file).exists()


def layout_of(loaded: LoadedSettings) -> Layout:
    """What metric labels a configuration makes."""
    settings = loaded.settings
    return Layout(
        names={Role.LEGACY: settings.legacy.name, Role.TARGET: settings.target.name},
        routes=routes_of((one.name, one.route, one.percentage) for one in settings.operations),
    )


def routes_of(operations: Iterable[tuple[str, str, int | None]]) -> dict[str, Route]:
    """Where each operation goes; a percentage of its own that is 0 is as good as a route."""
    routes = {
        name: Route.LEGACY if percentage == 0 and route == Route.SPLIT else Route(route)
        for name, route, percentage in operations
    }
    return {**routes, OTHER_OPERATION: Route.LEGACY}


def open_store(plan: Plan, env: Mapping[str, str]) -> Store:
    """The store that a plan names."""
    if plan.apply.file is not None:
        return FileStore(Path(plan.apply.file), env)
    if plan.apply.configmap is not None:
        from proxy.rollout.configmap_store import ConfigMapStore  # noqa: PLC0415 - it imports this module

        return ConfigMapStore(plan.apply.configmap, plan.apply.token, env)
    from proxy.rollout.sidecar_store import SidecarStore  # noqa: PLC0415 - it imports this module

    return SidecarStore(plan.apply.sidecars, plan.apply.token)
