"""cutover: moves live traffic from a legacy source to a target source, one bucket of users at a time.

A request goes one way through the package::

    net.listener -> net.downstream -> net.handler -> net.attempt -> net.pool -> upstream

and through five phases: **route -> decide -> attempt -> fall back or commit -> record**. `core` decides
(pure functions and values), `net` does (sockets), `settings` gives both one immutable snapshot per request,
and `telemetry` keeps the record.
"""

__version__ = "0.1.0"
