import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import psutil
import pytest

from proxy.demo.gallery import Gallery, GalleryOptions
from proxy.demo.postgres_server import (
    can_reach,
    copy_server,
    installed_server,
    needs_copy,
    postgres_home,
    start_postgres,
    unprivileged_account,
)
from proxy.demo.processes import Account, Launch, ReservedPort, StartError, free_port, start_child, wait_listening

SLEEPER = [sys.executable, "-c", "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"]
NOBODY = Account(65534, 65534)


def leftovers(tmp: Path):
    """Directories of the demo in `tmp`, and processes that use them."""
    found = [str(path) for path in tmp.iterdir() if path.name.startswith("cutover-demo")]
    for process in psutil.process_iter():
        try:
            if any(str(tmp) in part for part in process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture
def own_tmp(tmp_path_factory, monkeypatch):
    """A temporary directory that the PostgreSQL user can reach and nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="ctest-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


async def test_a_child_is_ended_with_all_it_started(tmp_path):
    child = start_child(Launch("sleeper", SLEEPER, tmp_path, tmp_path / "log"))
    async with asyncio.timeout(5):
        while not (grandchildren := psutil.Process(child.process.pid).children()):  # noqa: ASYNC110 - nothing tells of a birth
            await asyncio.sleep(0.02)
    assert child.running
    await child.stop(0.5)
    assert not child.running
    assert psutil.wait_procs(grandchildren, timeout=2)[1] == []
    child.kill()  # a second time does nothing


async def test_a_child_that_ends_while_starting_is_reported_with_its_last_words(tmp_path):
    argv = [sys.executable, "-c", "import sys; sys.exit('no such luck')"]
    child = start_child(Launch("the thing", argv, tmp_path, tmp_path / "log"))
    with pytest.raises(StartError, match=r"the thing ended while starting:\n +no such luck"):
        await wait_listening(child, free_port())
    child.kill()


async def test_a_program_that_is_not_there_is_one_clear_line(tmp_path):
    child = start_child(Launch("the thing", ["/no/such/program"], tmp_path, tmp_path / "log"))
    with pytest.raises(StartError, match="/no/such/program: No such file"):
        await wait_listening(child, free_port())
    child.kill()


def test_a_reserved_port_refuses_until_its_owner_listens():
    port = ReservedPort()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number), timeout=1)
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port.number))
    with socket.socket() as owner:
        owner.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        owner.bind(("127.0.0.1", port.number))
        owner.listen()
        socket.create_connection(("127.0.0.1", port.number), timeout=1).close()
    port.close()


def test_reach_is_judged_by_the_modes_of_the_path_and_all_its_parents(tmp_path):
    for parent in (*tmp_path.parents, tmp_path):
        if parent.owner() == "root" and not parent.stat().st_mode & 1:
            parent.chmod(0o711)  # pytest's own directories are 0700
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    file = inner / "file"
    file.write_text("x")
    assert can_reach(file, NOBODY)
    file.chmod(0o600)
    assert not can_reach(file, NOBODY)
    file.chmod(0o644)
    inner.parent.chmod(0o700)
    assert not can_reach(file, NOBODY)
    assert not can_reach(inner, NOBODY)
    assert can_reach(inner, Account(inner.stat().st_uid, 0)) or os.geteuid() != 0


def test_the_server_is_copied_only_for_a_user_that_cannot_run_it_in_place(own_tmp):
    hidden = own_tmp / "hidden"
    server = copy_server(installed_server(), hidden / "site-packages")
    assert not needs_copy(server, None)
    assert not needs_copy(server, NOBODY)
    hidden.chmod(0o700)
    assert needs_copy(server, NOBODY)
    assert not needs_copy(server, None)
    hidden.chmod(0o755)
    (server / "share" / "postgres.bki").chmod(0o600)
    assert needs_copy(server, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs it as another user")
async def test_as_root_a_hidden_server_is_copied_and_runs_unprivileged(own_tmp, tmp_path):
    hidden = own_tmp / "hidden"
    hidden.mkdir(mode=0o700)
    server = copy_server(installed_server(), hidden / "site-packages")
    hidden.chmod(0o700)
    async with AsyncExitStack() as stack:
        home = stack.enter_context(postgres_home(server))
        assert home.server != server
        await start_postgres(home, tmp_path / "log", stack)
        facts = home.directory.stat()
        assert (facts.st_mode & 0o777, facts.st_uid) == (0o700, unprivileged_account().uid)
        postmaster = int((home.directory / "data" / "postmaster.pid").read_text().split()[0])
        assert psutil.Process(postmaster).uids().real == unprivileged_account().uid != 0
        assert hidden.stat().st_mode & 0o777 == 0o700
    assert not psutil.pid_exists(postmaster)
    assert leftovers(own_tmp) == []


SMALL = GalleryOptions(users=10, images=200)


async def test_nothing_is_left_after_a_gallery(own_tmp):
    async with Gallery(SMALL) as gallery:
        assert gallery.token_file.stat().st_mode & 0o777 == 0o600
        assert leftovers(own_tmp)
    assert leftovers(own_tmp) == []


@pytest.mark.parametrize(
    ("option", "scheme", "message"),
    [("postgres_url", "postgresql", "PostgreSQL at --postgres-url"), ("dynamodb_endpoint", "http", "DynamoDB at http")],
)
async def test_nothing_is_left_when_a_part_does_not_start(own_tmp, option, scheme, message):
    url = f"{scheme}://127.0.0.1:{free_port()}/none"
    with pytest.raises(StartError, match=message):
        async with Gallery(GalleryOptions(users=10, images=200, **{option: url})):
            pass
    assert leftovers(own_tmp) == []


async def test_given_servers_are_used_and_left_as_they_were(gallery, http):
    options = GalleryOptions(
        users=10, images=200, postgres_url=gallery.postgres_url, dynamodb_endpoint=gallery.dynamodb_endpoint
    )
    async with Gallery(options) as guest:
        assert guest.schema != gallery.schema
    connection = await asyncpg.connect(gallery.postgres_url)
    schemas = await connection.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'cutover_demo%'")
    await connection.close()
    assert [row["nspname"] for row in schemas] == [gallery.schema]


HOLD = textwrap.dedent("""
    import asyncio
    from proxy.demo.gallery import Gallery, GalleryOptions
    async def main():
        async with Gallery(GalleryOptions(users=10, images=200)):
            print("up", flush=True)
            await asyncio.sleep(60)
    asyncio.run(main())
""")


def test_no_process_outlives_a_demo_that_was_killed(own_tmp):
    environment = os.environ | {"TMPDIR": str(own_tmp)}
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, env=environment) as demo:
        assert demo.stdout.readline() == b"up\n"
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 4
        demo.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []
