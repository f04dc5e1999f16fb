"""The decisions, pure: no asyncio, sockets, clock, randomness or logging; imports only itself."""
