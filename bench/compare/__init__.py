"""cutover beside nginx, HAProxy, Envoy and a plain aiohttp proxy: the same split, the same load, the same machine.

`python -m bench.compare` runs it (`bench/README.md` says how to read it). The flow: `needs` says what is missing,
`stage` starts two upstreams and the contestants, `verify` asks whether each really does the same work, `scenarios`
loads them in turn, `results` makes medians, `report`, `charts` and `readme` show them.
"""
