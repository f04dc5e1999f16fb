"""From PostgreSQL to DynamoDB: `cutover migrate` copies, `cutover verify` proves.

Pure: `mapping` (what a row becomes), `queries` (SQL), `convert` and `values` (a row to an item), `sizes`, `compare`,
`pace`, `ranges`, `addresses`. IO: `reader` (PostgreSQL), `table` and `writer` (DynamoDB), `checkpoint`, `files`.
`migrate`, `repair`, `verify` and `verify_http` put them together. Nothing here is needed by `cutover run`.
"""
