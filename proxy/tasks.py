"""Keeps the tasks of the rare paths alive: the event loop itself holds only weak references."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class TaskKeeper:
    """Starts tasks, holds them until they end, and cancels what is left at the close."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<TaskKeeper {len(self._tasks)} running>"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` as a task of the running loop."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cancel what still runs and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
