"""The target source's store: one DynamoDB table with an index by user.

Numbers travel as DynamoDB's decimal strings and become int directly, never float: nothing is lost on the way.
Neighbours: `image_service` serves it, `gallery` creates the table and loads the seed.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from proxy.demo.model import Cursor, Image, format_time, parse_time
from proxy.demo.store import ImageExistsError, Written
from proxy.demo.validation import apply_changes

INDEX: Final = "byUser"
BATCH_ITEMS: Final = 25  # DynamoDB's limit for one BatchWriteItem
_RACES: Final = 10

Item = dict[str, dict[str, Any]]


@asynccontextmanager
async def open_client(endpoint: str) -> AsyncIterator[Any]:
    """A DynamoDB client for `endpoint`; credentials and region from the environment, else made-up ones.

    Retries are the sidecar's business here: the client makes one attempt, so a failure is seen as one.
    """
    config = AioConfig(connect_timeout=2, read_timeout=5, retries={"total_max_attempts": 1}, max_pool_connections=64)
    own = "AWS_ACCESS_KEY_ID" in os.environ or "AWS_PROFILE" in os.environ
    made_up = {} if own else {"aws_access_key_id": "demo", "aws_secret_access_key": "demo"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    session = get_session()
    async with session.create_client(
        "dynamodb", region_name=region, endpoint_url=endpoint, config=config, **made_up
    ) as client:
        yield client


async def create_table(client: Any, table: str) -> None:  # noqa: ANN401 - botocore's clients have no static type
    """Create the table and wait until it can be written to."""
    await client.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[
            {"AttributeName": name, "AttributeType": "S"} for name in ("id", "userId", "createdAtId")
        ],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [
                    {"AttributeName": "userId", "KeyType": "HASH"},
                    {"AttributeName": "createdAtId", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    await client.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


async def load_images(client: Any, table: str, images: Sequence[Image]) -> None:  # noqa: ANN401 - as above
    """Batch-write the seed, sending again what the table did not take."""
    for start in range(0, len(images), BATCH_ITEMS):
        batch = [{"PutRequest": {"Item": to_item(image)}} for image in images[start : start + BATCH_ITEMS]]
        pending = {table: batch}
        while pending:
            answer = await client.batch_write_item(RequestItems=pending)
            pending = answer.get("UnprocessedItems") or {}
            if pending:
                await asyncio.sleep(0.2)


def sort_key(created_at: datetime, image_id: str) -> str:
    """Return the index's range key: its byte order is the order of (created_at, id)."""
    return f"{format_time(created_at)}#{image_id}"


def to_item(image: Image) -> Item:
    """Return the item as stored; null fields are left out."""
    item: Item = {
        "id": {"S": image.id},
        "userId": {"S": image.user_id},
        "createdAtId": {"S": sort_key(image.created_at, image.id)},
        "title": {"S": image.title},
        "description": {"S": image.description},
        "url": {"S": image.url},
        "tags": {"L": [{"S": tag} for tag in image.tags]},
        "width": {"N": str(image.width)},
        "height": {"N": str(image.height)},
        "sizeBytes": {"N": str(image.size_bytes)},
        "createdAt": {"S": format_time(image.created_at)},
        "updatedAt": {"S": format_time(image.updated_at)},
    }
    if image.thumbnail_url is not None:
        item["thumbnailUrl"] = {"S": image.thumbnail_url}
    if image.album_id is not None:
        item["albumId"] = {"S": image.album_id}
    return item


def from_item(item: Item) -> Image:
    """Return the image of a stored item."""
    return Image(
        id=item["id"]["S"],
        user_id=item["userId"]["S"],
        title=item["title"]["S"],
        description=item["description"]["S"],
        url=item["url"]["S"],
        thumbnail_url=item["thumbnailUrl"]["S"] if "thumbnailUrl" in item else None,
        tags=tuple(tag["S"] for tag in item["tags"]["L"]),
        album_id=item["albumId"]["S"] if "albumId" in item else None,
        width=int(item["width"]["N"]),
        height=int(item["height"]["N"]),
        size_bytes=int(item["sizeBytes"]["N"]),
        created_at=parse_time(item["createdAt"]["S"]),
        updated_at=parse_time(item["updatedAt"]["S"]),
    )


def _lost_condition(error: ClientError) -> bool:
    return bool(error.response["Error"]["Code"] == "ConditionalCheckFailedException")


class DynamoDBStore:
    """The gallery in DynamoDB; keeps the `GalleryStore` protocol, and takes the dual-writes."""

    def __init__(self, client: Any, table: str) -> None:  # noqa: ANN401 - as above
        self._client = client
        self._table = table

    def __repr__(self) -> str:
        return f"<DynamoDBStore {self._table}>"

    async def get(self, image_id: str) -> Image | None:
        """One image, or None; read strongly, so that a settled dual-write is seen."""
        answer = await self._client.get_item(TableName=self._table, Key={"id": {"S": image_id}}, ConsistentRead=True)
        return from_item(answer["Item"]) if "Item" in answer else None

    async def page(self, user_id: str, limit: int, after: Cursor | None) -> list[Image]:
        """Up to `limit` of a user's images after the cursor, newest first."""
        condition, values = "userId = :user", {":user": {"S": user_id}}
        if after is not None:
            condition += " AND createdAtId < :after"
            values[":after"] = {"S": sort_key(after.created_at, after.id)}
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": INDEX,
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": False,
        }
        found: list[Image] = []
        while len(found) < limit:  # a Query stops at 1 MiB, whatever its Limit
            answer = await self._client.query(**query, Limit=limit - len(found))
            found.extend(from_item(item) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                break
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found

    async def insert(self, image: Image) -> Written:
        """Add an image. Raises ImageExistsError."""
        if not await self._put(image, "attribute_not_exists(id)"):
            raise ImageExistsError(image.id)
        return Written(image)

    async def update(self, image_id: str, changes: Mapping[str, Any], now: datetime) -> Written | None:
        """Change an image if nobody else did in between, else look again; None when it is not there."""
        for _ in range(_RACES):
            old = await self.get(image_id)
            if old is None:
                return None
            image = apply_changes(old, changes, now)
            if await self._put(image, "updatedAt = :time", old.updated_at):
                return Written(image)
        raise TimeoutError(f"image {image_id} is being written to too fast")

    async def delete(self, image_id: str, now: datetime) -> Written | None:
        """Remove an image; None when it was not there."""
        answer = await self._client.delete_item(
            TableName=self._table, Key={"id": {"S": image_id}}, ReturnValues="ALL_OLD"
        )
        if "Attributes" not in answer:
            return None
        image = from_item(answer["Attributes"])
        return Written(apply_changes(image, {}, now))

    async def put_if_newer(self, image: Image) -> bool:
        """Take a dual-write unless a later one is already here (last writer wins); False when it was not taken."""
        return await self._put(image, "attribute_not_exists(id) OR updatedAt <= :time", image.updated_at)

    async def delete_if_older(self, image_id: str, deleted_at: datetime) -> bool:
        """Take a dual-written removal unless a later write is already here."""
        try:
            await self._client.delete_item(
                TableName=self._table,
                Key={"id": {"S": image_id}},
                ConditionExpression="attribute_not_exists(id) OR updatedAt <= :time",
                ExpressionAttributeValues={":time": {"S": format_time(deleted_at)}},
            )
        except ClientError as exc:
            if _lost_condition(exc):
                return False
            raise
        return True

    async def _put(self, image: Image, condition: str, time: datetime | None = None) -> bool:
        values = {} if time is None else {"ExpressionAttributeValues": {":time": {"S": format_time(time)}}}
        try:
            await self._client.put_item(
                TableName=self._table, Item=to_item(image), ConditionExpression=condition, **values
            )
        except ClientError as exc:
            if _lost_condition(exc):
                return False
            raise
        return True
