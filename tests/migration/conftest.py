"""A real PostgreSQL and a DynamoDB-compatible server for the session; each test has a schema and a table of its own."""

import sys
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from bench import dynamodb_stub
from proxy.demo.dynamodb_server import start_dynamodb
from proxy.demo.dynamodb_store import open_client
from proxy.demo.postgres_server import postgres_home, start_postgres
from proxy.demo.processes import Launch, free_port, start_child, wait_listening
from proxy.migration.inserts import Way
from tests.migration.world import World


@pytest.fixture(scope="session", autouse=True)
def credentials():
    """botocore wants some, and must not look for any elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.delenv("AWS_PROFILE", raising=False)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_url(tmp_path_factory):
    with postgres_home() as home:
        async with AsyncExitStack() as stack:
            await start_postgres(home, tmp_path_factory.mktemp("pg") / "log", stack)
            yield home.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def dynamodb_url(tmp_path_factory):
    async with AsyncExitStack() as stack:
        port = free_port()
        await start_dynamodb(port, tmp_path_factory.mktemp("moto"), stack)
        yield f"http://127.0.0.1:{port}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mended_url(tmp_path_factory):
    """moto, whose INSERT refuses duplicates as Amazon's does."""
    async with AsyncExitStack() as stack:
        port, work = free_port(), tmp_path_factory.mktemp("mended")
        argv = [sys.executable, "-m", "tests.migration.mended_moto", str(port)]
        child = start_child(Launch("mended moto", argv, Path(__file__).parents[2], work / "log"))
        stack.push_async_callback(child.stop, 1.0)
        await wait_listening(child, port)
        yield f"http://127.0.0.1:{port}"


@pytest_asyncio.fixture(loop_scope="session")
async def stub():
    """A fast table in this process, whose faults can be set."""
    memory = dynamodb_stub.Memory()
    server = await dynamodb_stub.serve(0, memory)
    memory.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield memory
    server.close()


@asynccontextmanager
async def moto_world(postgres_url, endpoint, tmp_path):
    connection = await asyncpg.connect(postgres_url)
    async with open_client(endpoint) as client:
        made = World(postgres_url, endpoint, connection, client, tmp_path)
        yield made
        await connection.execute(f"DROP SCHEMA IF EXISTS {made.schema} CASCADE")
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(postgres_url, dynamodb_url, tmp_path):
    async with moto_world(postgres_url, dynamodb_url, tmp_path) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def either_world(postgres_url, dynamodb_url, mended_url, way, tmp_path):
    """moto, written to in either way; for INSERT it is the mended one."""
    async with moto_world(postgres_url, mended_url if way is Way.INSERT else dynamodb_url, tmp_path) as made:
        made.way = way
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def stub_world(postgres_url, stub, tmp_path):
    connection = await asyncpg.connect(postgres_url)
    made = World(postgres_url, stub.url, connection, None, tmp_path)
    made.memory = stub
    yield made
    await connection.execute(f"DROP SCHEMA IF EXISTS {made.schema} CASCADE")
    await connection.close()


@pytest.fixture(params=[Way.PUT, Way.INSERT])
def way(request):
    """Either way to write."""
    return request.param
