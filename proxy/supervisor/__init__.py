"""The supervisor: owns the listening sockets, the configuration, the admin port and the worker processes.

Holds no client's connection and never imports the data plane (`proxy.net`), so it stays small and has little that
could fail. One way through it::

    run -> keeper (what is in force) -> fleet (who runs) -> process -> channel -> worker

`rollout_state`, `backoff` and `silence` decide (pure); `sockets`, `process` and `channel` do. What goes between the
supervisor and a worker is `messages`, which `proxy.worker` shares.
"""
