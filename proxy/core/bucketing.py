"""From a user id to one of 100 buckets, the same for ever.

Neighbours: `identity` finds the user id, `routing` compares the bucket with the percentage.
"""

from typing import Final

import mmh3

BUCKETS: Final = 100


def salt_prefix(salt: str) -> bytes:
    """What is hashed before the user id: nothing for an empty salt, else the salt and a colon."""
    return f"{salt}:".encode() if salt else b""


def bucket_of(user_id: bytes, prefix: bytes = b"") -> int:
    """The bucket, 0 to 99, of a user: unsigned murmur3_x86_32 with seed 0, modulo 100.

    `prefix` comes from `salt_prefix`. Unsigned matters: a signed hash modulo 100 would put half of all users
    below every percentage in languages whose remainder keeps the sign.
    """
    return mmh3.hash(prefix + user_id, 0, signed=False) % BUCKETS
