"""The DynamoDB table: opened, described, read. The libraries' exceptions end here.

Retries are made here and not by botocore, so that each throttle is known to `Pace`. Neighbours: `writer` writes,
`verify` reads.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aiobotocore.config import AioConfig
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from proxy import __version__
from proxy.migration.addresses import DynamoAddress
from proxy.migration.errors import MigrationFailed, bad_argument
from proxy.migration.pace import Pace, backoff_s
from proxy.migration.sizes import Item
from proxy.migration.wire import encode_bodies, open_session

CONNECTIONS: Final = 64
GET_KEYS: Final = 100  # DynamoDB's limit for one BatchGetItem
_CONFIG: Final = AioConfig(
    connect_timeout=5,
    read_timeout=20,
    retries={"total_max_attempts": 1},
    max_pool_connections=CONNECTIONS,
    user_agent=f"cutover/{__version__}",  # botocore's own is put together anew for each request: a fifth of its time
    parameter_validation=False,  # what is sent is made by `convert`; checking it again costs as much as sending it
)
THROTTLES: Final = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling"}
)
_TEMPORARY: Final = frozenset(
    {
        *THROTTLES,
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "TransactionConflictException",
        "TransactionInProgressException",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
_CREDENTIALS: Final = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "MissingAuthenticationToken",
        "ExpiredTokenException",
        "ExpiredToken",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
    }
)
_NO_CREDENTIALS: Final = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, ProfileNotFound)


class Refused(Exception):
    """DynamoDB says that the request itself is wrong, and always will be; `str` is what it says, with its `code`."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Denied(MigrationFailed):
    """These credentials may not do this."""


class ConditionFailed(Exception):
    """The item that is there does not meet the condition; `old` is that item, if it was asked for.

    `unseen` attempts before this one had no answer, and may have been carried out.
    """

    def __init__(self, old: Item | None, unseen: int) -> None:
        super().__init__()
        self.old = old
        self.unseen = unseen


@dataclass(slots=True)
class Attempts:
    """Of one request: how many had no answer, and may have been carried out."""

    unseen: int = 0


@dataclass(slots=True)
class Traffic:
    """What was not in a straight line."""

    retries: int = 0
    throttles: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A described table. `key` is its key attributes with their types (S, N or B), the partition key first."""

    client: Any = field(repr=False)  # botocore's clients have no static type
    address: DynamoAddress
    key: Mapping[str, str]
    patience_s: float
    pace: Pace | None = None
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def name(self) -> str:
        """What every request calls it."""
        return self.address.table

    @property
    def endpoint_url(self) -> str:
        """Where the requests go, in the end: by the address, the environment or the profile."""
        return str(self.client.meta.endpoint_url)

    def key_of(self, item: Mapping[str, Any]) -> Item:
        """An item's key."""
        return {name: item[name] for name in self.key}

    @property
    def most_units(self) -> float:
        """The write units that one request may have; more would come as a burst, and be throttled."""
        return float("inf") if self.pace is None else self.pace.burst_units

    async def take_turn(self, units: int) -> None:
        """Wait until so many write units may be used."""
        if self.pace is not None and (delay_s := self.pace.delay_s(units)) > 0:
            await asyncio.sleep(delay_s)

    async def ask(self, send: Callable[[], Awaitable[Any]], attempts: Attempts | None = None) -> Any:  # noqa: ANN401 - an answer of botocore's
        """Send until it is answered, counting in `attempts`. Raises ConditionFailed, Refused, MigrationFailed."""
        counted = attempts or Attempts()
        began_s, attempt = asyncio.get_running_loop().time(), 0
        while True:
            try:
                return await send()
            except ClientError as error:
                code = _code(error)
                if code == "ConditionalCheckFailedException":
                    raise ConditionFailed(error.response.get("Item"), counted.unseen) from None
                self._judge(error, code)
                if code in THROTTLES:
                    self.throttled()
                else:
                    counted.unseen += 1
                last: Exception = error
            except _NO_CREDENTIALS as error:
                raise MigrationFailed(f"DynamoDB: {_sentence(error)}") from error
            except (BotoCoreError, OSError, TimeoutError) as error:
                counted.unseen += 1
                last = error
            try:
                await self.pause(began_s, attempt, _sentence(last))
            except MigrationFailed as failed:
                raise failed from last
            attempt += 1

    async def pause(self, began_s: float, attempt: int, why: str, requests: int = 1) -> None:
        """Before so many are sent again: wait, longer each time. Raises MigrationFailed when it takes too long."""
        self.traffic.retries += requests
        if asyncio.get_running_loop().time() > began_s + self.patience_s:
            raise MigrationFailed(f"DynamoDB at {self.address.shown} is away: {why}")
        await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - no secret

    def _judge(self, error: ClientError, code: str) -> None:
        """Raise what no retry can mend."""
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        message = error.response.get("Error", {}).get("Message", "")
        if code in _TEMPORARY or status >= 500:
            return
        if code in _CREDENTIALS:
            raise MigrationFailed(f"DynamoDB at {self.address.shown} refuses these credentials ({code})") from error
        if code == "ResourceNotFoundException":
            raise MigrationFailed(f"there is no DynamoDB table {self.address.shown}") from error
        if code in ("AccessDeniedException", "AccessDenied"):
            raise Denied(f"DynamoDB at {self.address.shown} denies access: {message}") from error
        raise Refused(f"{code}: {message}" if code != "ValidationException" else message, code) from error

    def throttled(self) -> None:
        """The table said that it was too much."""
        self.traffic.throttles += 1
        if self.pace is not None:
            self.pace.throttled()

    async def get_many(self, keys: Sequence[Item], *, consistent: bool) -> list[Item]:
        """The items with these keys, of those that there are, in any order."""
        found: list[Item] = []
        for start in range(0, len(keys), GET_KEYS):
            wanted: dict[str, Any] = {"Keys": list(keys[start : start + GET_KEYS]), "ConsistentRead": consistent}
            attempt = 0
            while wanted:
                send = partial(self.client.batch_get_item, RequestItems={self.name: wanted})
                answer = await self.ask(send)
                found += answer["Responses"].get(self.name, [])
                wanted = (answer.get("UnprocessedKeys") or {}).get(self.name, {})
                if wanted:
                    self.throttled()
                    await asyncio.sleep(backoff_s(attempt, random.random()))  # noqa: S311 - no secret
                    attempt += 1
        return found

    async def scan(
        self, segment: int, segments: int, attributes: Sequence[str], limit: int
    ) -> AsyncIterator[list[Item]]:
        """The items of one segment of the table, these attributes of them, by pages."""
        names = {f"#n{at}": name for at, name in enumerate(attributes)}
        request: dict[str, Any] = {
            "TableName": self.name,
            "Segment": segment,
            "TotalSegments": segments,
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": names,
            "Limit": limit,
        }
        while True:
            answer = await self.ask(lambda: self.client.scan(**request))
            if answer["Items"]:
                yield answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


@asynccontextmanager
async def open_table(address: DynamoAddress, patience_s: float, pace: Pace | None = None) -> AsyncIterator[Table]:
    """Connect and describe. Raises ConfigError and MigrationFailed."""
    try:
        creating = open_session().create_client(
            "dynamodb", region_name=address.region, endpoint_url=address.endpoint, config=_CONFIG
        )
        async with creating as client:
            encode_bodies(client)
            first = Table(client, address, {}, min(patience_s, _FIRST_PATIENCE_S))
            answer = await first.ask(lambda: client.describe_table(TableName=address.table))
            yield Table(client, address, _key_of(answer["Table"], address), patience_s, pace)
    except NoRegionError:
        raise bad_argument("--to", "no region", "add ?region=REGION, or set AWS_REGION") from None
    except Refused as error:
        raise MigrationFailed(f"DynamoDB at {address.shown}: {error}") from error
    except ValueError as error:  # botocore's word for an endpoint that it can't use
        raise bad_argument("--to", "endpoint: not a usable address") from error


_FIRST_PATIENCE_S: Final = 5.0


def _key_of(description: Mapping[str, Any], address: DynamoAddress) -> dict[str, str]:
    if description.get("TableStatus") not in ("ACTIVE", "UPDATING", None):
        raise MigrationFailed(f"the DynamoDB table {address.shown} is {description['TableStatus']}")
    types = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    schema = sorted(description["KeySchema"], key=lambda each: each["KeyType"] != "HASH")
    return {each["AttributeName"]: types[each["AttributeName"]] for each in schema}


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _sentence(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
