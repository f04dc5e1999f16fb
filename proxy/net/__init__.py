"""The data plane: every socket that carries users' traffic.

`net` does what `core` decides. Modules stand in the order a request meets them: `listener`, `downstream`,
`handler`, `attempt`, `pool`, `upstream`; `connector` opens connections, `answers` holds the proxy's own errors.
"""
