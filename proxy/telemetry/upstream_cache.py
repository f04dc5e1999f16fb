"""What a cache in front of a source said of an answer: hit, miss, or nothing that counts.

A hit is content that came out of a cache, also one that asked the origin first whether it is still good, or that
gave it although it is old. Errors and what was made at the edge are neither.
Pure. Neighbour: `net.record` asks, once for each answer with such a field.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from proxy.telemetry.labels import CacheResult

# X-Cache of CloudFront, Fastly, Akamai, Squid and Varnish; CF-Cache-Status of Cloudflare. In lower case.
HIT_WORDS: Final = frozenset(
    ("hit", "refreshhit", "originshieldhit", "revalidated", "stale", "updating", "tcp_hit", "tcp_mem_hit",
     "tcp_refresh_hit")
)  # fmt: skip
MISS_WORDS: Final = frozenset(("miss", "expired", "bypass", "dynamic", "pass", "tcp_miss", "tcp_refresh_miss"))
NEITHER_WORDS: Final = frozenset(
    # An error says nothing about what is cached; the rest was made at the edge.
    ("error", "limitexceeded", "capacityexceeded", "redirect", "lambdageneratedresponse", "functiongeneratedresponse",
     "none", "none/unknown")
)  # fmt: skip
_FIRST_WORD: Final = re.compile(rb"[A-Za-z_/]+").match
_SECONDS: Final = re.compile(rb"[0-9]{1,10}").fullmatch


def cache_result(noted: Mapping[bytes, tuple[bytes, ...]]) -> CacheResult | None:
    """Judge a response by its fields: `X-Cache`, else `CF-Cache-Status`, else `Age`; None when none of them tells.

    The first of these whose words are known decides. Several caches (`MISS, HIT`) are one hit if any of them hit:
    the origin was not needed. An `Age` of 0 is a miss, any other a hit (RFC 9111 section 5.1).
    """
    for name in (b"x-cache", b"cf-cache-status"):
        if name in noted:
            known, result = _by_words(noted[name])
            if known:
                return result
    ages = noted.get(b"age", ())
    if len(ages) != 1 or not _SECONDS(ages[0]):
        return None
    return CacheResult.HIT if int(ages[0]) else CacheResult.MISS


@lru_cache(maxsize=256)
def _by_words(values: tuple[bytes, ...]) -> tuple[bool, CacheResult | None]:
    """Whether any word is known, and what they say together."""
    words = {
        match[0].decode("ascii").lower()
        for entry in b",".join(values).split(b",")
        if (match := _FIRST_WORD(entry.strip()))
    }
    if words & HIT_WORDS:
        return True, CacheResult.HIT
    if words & MISS_WORDS:
        return True, CacheResult.MISS
    return bool(words & NEITHER_WORDS), None
