"""Makes room for file descriptors, and fits the connection limit into what there is.

At the limit uvloop accepts and closes connections without a word, so it must never be reached. Neighbour: `app`.
"""

import resource
from typing import Final

from proxy.settings.schema import Settings

_NO_LIMIT: Final = 1 << 20
_MOST_BACKLOG: Final = 4096
_OWN: Final = 64  # listeners, log, admin connections, files read at a reload


def raise_limit() -> int:
    """Raise the soft limit of open files to the hard one; return what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return _NO_LIMIT if soft == resource.RLIM_INFINITY else soft


def fitting_backlog(descriptors: int) -> int:
    """How many connections may wait to be accepted: uvloop accepts all of them at once, over the limit too."""
    return max(16, min(_MOST_BACKLOG, descriptors // 8))


def fitting_connections(settings: Settings, descriptors: int) -> int:
    """How many client connections may be open, at most `limits.connections`.

    Each may have a request under way, with an attempt on either source, so a third of the descriptors always fits;
    more fits when the pools can't take as many as that.
    """
    pools = settings.legacy.pool.max_connections + settings.target.pool.max_connections
    usable = max(descriptors - _OWN - fitting_backlog(descriptors), 3)
    return max(1, min(settings.limits.connections, max(usable // 3, usable - pools)))
