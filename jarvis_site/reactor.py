"""Twisted's reactor, on an event loop of uvloop's.

Daphne makes the loop, and installs the reactor on it, as soon as its server is imported: so this comes first. All other
loops (commands, tests, threads) stay asyncio's own.
"""

import asyncio

import uvloop

_others = asyncio.get_event_loop_policy()
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
try:
    from daphne.server import twisted_loop as twisted_loop
finally:
    asyncio.set_event_loop_policy(_others)
