"""`python -m proxy.demo.dynamodb_server PORT`: a DynamoDB-compatible server, moto, in a process of its own.

It is moto's server without its line per request, which costs as much as a small query and would fill the log.
"""

import logging
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from proxy.demo.processes import Launch, start_child, wait_listening


async def start_dynamodb(port: int, work_dir: Path, stack: AsyncExitStack) -> None:
    """Start moto on the loopback `port` and return when it answers; `stack` ends it. Raises StartError."""
    argv = [sys.executable, "-m", "proxy.demo.dynamodb_server", str(port)]
    child = start_child(Launch("moto (DynamoDB)", argv, work_dir, work_dir / "dynamodb.log"))
    stack.push_async_callback(child.stop, 1.0)
    await wait_listening(child, port)


def main() -> None:
    """Serve until SIGTERM."""
    from moto.server import main as serve_moto  # noqa: PLC0415 - only this process needs it

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    serve_moto(["--host", "127.0.0.1", "--port", sys.argv[1]])


if __name__ == "__main__":
    main()
