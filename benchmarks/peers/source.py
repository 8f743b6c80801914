"""The tokens that every server streams: token k is due at `at + k / rate` on the machine's monotonic clock.

Who is late gets all that is due in one wake-up, as `scripted:` gives Jarvis and a connection to a model everybody:
a sleep for each would make an overloaded peer pay once more for being late.
"""

import asyncio
from functools import lru_cache
from zlib import crc32


@lru_cache(maxsize=10_000)  # as in `scripted:`: what is measured is the delivery, not this
def token(k):
    return f"⟨{k}:{crc32(b'%d' % k):08x}⟩"


async def tokens(at, count, rate):
    loop = asyncio.get_running_loop()
    for k in range(count):
        if (early := at + k / rate - loop.time()) > 0:
            await asyncio.sleep(early)
        yield token(k)
