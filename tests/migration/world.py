"""One schema and one table, and what is done with them."""

import json
import os
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.migration.addresses import parse_dynamodb, parse_postgres
from proxy.migration.findings import Findings
from proxy.migration.inserts import Way
from proxy.migration.mapping_file import load_mapping
from proxy.migration.migrate import Nobody, Options, run_migration
from proxy.migration.repair import run_repair
from proxy.migration.verify import run_verification

SERVERS = pytest.mark.asyncio(loop_scope="session")

# A table small enough to be read, with an integer key and a version.
SMALL = """
table: {schema}.things
key: [id]
version: updatedAt
attributes:
  id: {{column: id, type: number}}
  body: {{column: body, type: string}}
  updatedAt: {{column: updated_at, type: timestamp, precision: us}}
"""
SMALL_TABLE = "CREATE TABLE things (id bigint PRIMARY KEY, body text, updated_at timestamptz NOT NULL)"
# The same with the key that the stub knows.
STUB = SMALL.replace("id, type: number", "id, type: string").replace(" number", " string")
STUB_TABLE = SMALL_TABLE.replace("bigint", 'text COLLATE "C"')


class World:
    """One schema and one table."""

    def __init__(self, postgres_url, endpoint, connection, client, directory):
        self.schema = f"s{secrets.token_hex(4)}"
        self.table = f"t{secrets.token_hex(4)}"
        self.source, self.endpoint = postgres_url, endpoint
        self.target = f"dynamodb://{self.table}?region=us-east-1&endpoint={endpoint}"
        self.way = Way.AUTO
        self.sql, self.client, self.directory = connection, client, directory

    async def create(self, ddl, key="id", kind="S"):
        await self.sql.execute(f"CREATE SCHEMA {self.schema}; SET search_path TO {self.schema}; {ddl}")
        if self.client is not None:
            await self.client.create_table(
                TableName=self.table,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": kind}],
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
            )

    def mapping(self, text):
        path = self.directory / "mapping.yaml"
        path.write_text(text.replace("{schema}", self.schema).replace("{{", "{").replace("}}", "}"))
        return path

    def options(self, mapping, **changes):
        return Options(
            source=parse_postgres(self.source),
            target=parse_dynamodb(self.target),
            mapping=load_mapping(self.mapping(mapping), os.environ),
            **{"patience_s": 20.0, "way": self.way, **changes},
        )

    async def migrate(self, mapping, watch=None, **changes):
        """Migrate; the outlook and the rejects."""
        return await self.run(self.options(mapping, **changes), watch)

    async def run(self, options, watch=None, only=None):
        rejects = []

        def keep(checkpoint):
            rejects.extend(checkpoint.rejects())

        watch = watch or Nobody()
        if only is None:
            return await run_migration(options, watch, keep), rejects
        return await run_repair(options, only, watch, keep), rejects

    async def items(self):
        found, start = [], {}
        while True:
            answer = await self.client.scan(TableName=self.table, ConsistentRead=True, **start)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    async def put(self, item):
        await self.client.put_item(TableName=self.table, Item=item)


def lines_of(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Quiet:
    """Looks on at a verification, and says nothing."""

    def begin(self, total):
        pass

    def compared(self, findings):
        pass

    def doubted(self, number):
        pass


async def verified(world, mapping, *, sample=None, delay_s=0.05, ignore=()):
    """Verify; the findings, with their differences read."""
    options = world.options(mapping)
    options = replace(options, mapping=options.mapping.ignoring(ignore))
    with Findings() as findings:
        await run_verification(options, findings, Quiet(), sample=sample, delay_s=delay_s)
        findings.found = sorted(findings.differences(), key=lambda each: (str(each["id"]), str(each["field"])))
        findings.list = list(findings.repairs())
    return findings
