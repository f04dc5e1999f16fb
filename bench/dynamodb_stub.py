"""`python -m bench.dynamodb_stub PORT`: just enough of DynamoDB's protocol, fast, to measure a client and to break it.

One table whose key is the string `id`, in memory; the conditions that `cutover migrate` sends, and no others. It
answers in well under 0.1 ms, so that what is measured is the client. Faults are set by requests of the operation
`Stub.Faults`: `{"throttle": 0.1, "error": 0.1, "cut": 0.1, "lost": 0.1}` are shares of the requests that are refused,
answered with 500, cut off before they are carried out, or cut off after they were; `{"capacity": 500}` refuses what is
above so many writes a second. In a `BatchExecuteStatement`, throttles and errors meet each statement by itself, and
half of the errors come after it was carried out; its INSERT answers `DuplicateItem` for an item that is there, as
DynamoDB's does.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Collection
from typing import Any
from zlib import crc32

import uvloop

Item = dict[str, dict[str, Any]]
OF_REQUESTS = ("throttle", "error", "cut", "lost")
OF_STATEMENTS = {"throttle": "ThrottlingError", "error": "InternalServerError"}
INSERT = re.compile(r"""INSERT INTO "[\w.-]+" VALUE \{('[^']+': \?(?:, '[^']+': \?)*)\}""")


class ConditionFailed(Exception):
    pass


class Memory:
    """The table, by operation."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.faults: dict[str, float] = {}
        self.draw = random.Random(1).random
        self.written = 0
        self.tokens = 0.0
        self.filled_s = time.monotonic()
        self.statements: dict[str, list[str]] = {}

    def bucket(self, capacity: float) -> bool:
        """Whether a write is still within the capacity; a fifth of a second of it can be saved up."""
        now_s = time.monotonic()
        self.tokens = min(capacity / 5, self.tokens + (now_s - self.filled_s) * capacity)
        self.filled_s = now_s
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def fault(self, names: Collection[str]) -> str | None:
        """What goes wrong this time, of these."""
        if not self.faults:
            return None
        capacity = self.faults.get("capacity")
        if capacity is not None and "throttle" in names:
            return None if self.bucket(capacity) else "throttle"
        drawn = self.draw()
        for name, share in self.faults.items():
            if name in names and drawn < share:
                return name
            drawn -= share if name in names else 0
        return None

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        return getattr(self, f"on_{operation}")(request)

    def on_Faults(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - operations are called so
        self.faults = request
        return {"Written": self.written}

    def on_DescribeTable(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "Table": {
                "TableName": request["TableName"],
                "TableStatus": "ACTIVE",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            }
        }

    def on_PutItem(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        item = request["Item"]
        old = self.items.get(item["id"]["S"])
        condition = request.get("ConditionExpression", "")
        if old is not None and condition and not self._is_older(old, condition, request):
            raise ConditionFailed(old)
        self.items[item["id"]["S"]] = item
        self.written += 1
        return {}

    @staticmethod
    def _is_older(old: Item, condition: str, request: dict[str, Any]) -> bool:
        if "#v" not in condition:
            return False
        name = request["ExpressionAttributeNames"]["#v"]
        given, held = request["ExpressionAttributeValues"][":v"], old.get(name)
        if held is None:
            return "attribute_not_exists(#v)" in condition
        (kind, value), (held_kind, held_value) = *given.items(), *held.items()
        if kind != held_kind:
            return False
        if kind == "N":
            value, held_value = float(value), float(held_value)
        return held_value <= value if "<=" in condition else held_value < value

    def on_DeleteItem(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        key = request["Key"]["id"]["S"]
        old = self.items.get(key)
        if "ConditionExpression" in request:
            name = request["ExpressionAttributeNames"].get("#v")
            wanted = request.get("ExpressionAttributeValues", {}).get(":v")
            if old is None or (name is not None and old.get(name) != wanted):
                raise ConditionFailed(old)
        self.items.pop(key, None)
        return {}

    def on_BatchWriteItem(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for each in next(iter(request["RequestItems"].values())):
            item = each["PutRequest"]["Item"]
            self.items[item["id"]["S"]] = item
            self.written += 1
        return {"UnprocessedItems": {}}

    def on_BatchExecuteStatement(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {"Responses": [self._insert(each["Statement"], each["Parameters"]) for each in request["Statements"]]}

    def _insert(self, statement: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        names = self.statements.get(statement)
        if names is None:
            found = INSERT.fullmatch(statement)
            if found is None:
                return _failed("ValidationError", "not a statement that is known here")
            names = self.statements[statement] = re.findall("'([^']+)'", found[1])
        fault = self.fault(OF_STATEMENTS) if self.faults else None
        if fault == "throttle" or (fault == "error" and self.draw() < 0.5):
            return _failed(OF_STATEMENTS[fault], fault)
        item = dict(zip(names, parameters, strict=True))
        key = item["id"]["S"]
        if key in self.items:
            return _failed("DuplicateItem", "Duplicate primary key exists in table")
        self.items[key] = item
        self.written += 1
        return _failed("InternalServerError", "carried out") if fault else {}

    def on_BatchGetItem(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        ((table, wanted),) = request["RequestItems"].items()
        found = [self.items[key["id"]["S"]] for key in wanted["Keys"] if key["id"]["S"] in self.items]
        return {"Responses": {table: found}, "UnprocessedKeys": {}}

    def on_Scan(self, request: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        of, mine, limit = request["TotalSegments"], request["Segment"], request["Limit"]
        after = request.get("ExclusiveStartKey", {}).get("id", {}).get("S")
        keys = self._segment(mine, of)
        start = 0 if after is None else keys[1][after] + 1
        part = keys[0][start : start + limit]
        names = list(request["ExpressionAttributeNames"].values())
        items = [self.items[key] for key in part if key in self.items]
        answer = {"Items": [{name: item[name] for name in names if name in item} for item in items]}
        return answer | ({"LastEvaluatedKey": {"id": {"S": part[-1]}}} if start + limit < len(keys[0]) else {})

    def _segment(self, mine: int, of: int) -> tuple[list[str], dict[str, int]]:
        """The keys of a segment, and each one's place; made anew when the table has grown."""
        cache = self.__dict__.setdefault("segments", {})
        held = cache.get((mine, of))
        if held is None or held[0] != self.written:
            keys = [key for key in self.items if crc32(key.encode()) % of == mine]
            held = cache[mine, of] = (self.written, (keys, {key: place for place, key in enumerate(keys)}))
        return held[1]


def _failed(code: str, message: str) -> dict[str, Any]:
    return {"Error": {"Code": code, "Message": message}}


class Connection(asyncio.Protocol):
    """HTTP/1.1 with Content-Length, one request after another."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while (end := self._held.find(b"\r\n\r\n")) >= 0:
            head = self._held[:end].lower()
            start = head.find(b"content-length:") + 15
            length = int(head[start : head.find(b"\r\n", start) if b"\r\n" in head[start:] else None])
            whole = end + 4 + length
            if len(self._held) < whole:
                return
            at = head.find(b"x-amz-target:") + 13
            operation = self._held[at : self._held.find(b"\r\n", at)].decode().rpartition(".")[2].strip()
            body, self._held = self._held[end + 4 : whole], self._held[whole:]
            self._serve(operation, body)

    def _serve(self, operation: str, body: bytes) -> None:
        by_statement = OF_STATEMENTS if operation == "BatchExecuteStatement" else ()
        names = [name for name in OF_REQUESTS if name not in by_statement]
        fault = self._memory.fault(names) if operation != "Faults" else None
        if fault == "cut":
            self._transport.abort()
            return
        if fault == "throttle":
            code = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
            self._send(400, {"__type": code, "message": "too much"})
            return
        if fault == "error":
            self._send(500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "broken"})
            return
        request = json.loads(body)
        try:
            answer = self._memory.answer(operation, request)
        except ConditionFailed as failed:
            code = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException"
            document: dict[str, Any] = {"__type": code, "message": "The conditional request failed"}
            if "ReturnValuesOnConditionCheckFailure" in request and failed.args[0]:
                document["Item"] = failed.args[0]
            self._send(400, document)
            return
        if fault == "lost":
            self._transport.abort()
            return
        self._send(200, answer)

    def _send(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document, separators=(",", ":")).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


async def serve(port: int, memory: Memory | None = None) -> asyncio.Server:
    """Listen on loopback."""
    held = memory or Memory()
    return await asyncio.get_running_loop().create_server(lambda: Connection(held), "127.0.0.1", port)


async def main() -> None:
    server = await serve(int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
