"""A real PostgreSQL and a DynamoDB-compatible server for the session; each test has a schema and a table of its own."""

from contextlib import AsyncExitStack

import asyncpg
import pytest
import pytest_asyncio

from bench import dynamodb_stub
from proxy.demo.dynamodb_server import start_dynamodb
from proxy.demo.dynamodb_store import open_client
from proxy.demo.postgres_server import postgres_home, start_postgres
from proxy.demo.processes import free_port
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


@pytest_asyncio.fixture(loop_scope="session")
async def stub():
    """A fast table in this process, whose faults can be set."""
    memory = dynamodb_stub.Memory()
    server = await dynamodb_stub.serve(0, memory)
    memory.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield memory
    server.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(postgres_url, dynamodb_url, tmp_path):
    connection = await asyncpg.connect(postgres_url)
    async with open_client(dynamodb_url) as client:
        made = World(postgres_url, dynamodb_url, connection, client, tmp_path)
        yield made
        await connection.execute(f"DROP SCHEMA IF EXISTS {made.schema} CASCADE")
    await connection.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stub_world(postgres_url, stub, tmp_path):
    connection = await asyncpg.connect(postgres_url)
    made = World(postgres_url, stub.url, connection, None, tmp_path)
    made.memory = stub
    yield made
    await connection.execute(f"DROP SCHEMA IF EXISTS {made.schema} CASCADE")
    await connection.close()
