"""`python -m tests.migration.mended_moto PORT`: moto with an INSERT that works as Amazon documents it.

moto 5.2 answers 500 to an INSERT with parameters, and one without overwrites the item that is there. Only that is
replaced: what is stored, and which items are refused, stays moto's own.
"""

import re

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType

from bench.dynamodb_stub import INSERT
from proxy.demo.dynamodb_server import main


def insert(backend, request):
    found = INSERT.fullmatch(request["Statement"])
    if found is None:
        return {"Error": {"Code": "ValidationError", "Message": "Statement wasn't well formed"}}
    item = dict(zip(re.findall("'([^']+)'", found[1]), request["Parameters"], strict=True))
    name = request["Statement"].split('"')[1]
    table = backend.get_table(name)
    if table.get_item(DynamoType(item[table.hash_key_attr])) is not None:
        return {"Error": {"Code": "DuplicateItem", "Message": "Duplicate primary key exists in table"}}
    backend.put_item(name, item)
    return {"TableName": name}


def batch_execute_statement(backend, statements):
    return [insert(backend, each) for each in statements]


DynamoDBBackend.batch_execute_statement = batch_execute_statement

if __name__ == "__main__":
    main()
