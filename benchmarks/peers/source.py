"""The tokens that every server streams: token k is due at `at + k / rate` on the machine's monotonic clock."""

import asyncio
from zlib import crc32


def token(k):
    return f"⟨{k}:{crc32(b'%d' % k):08x}⟩"


async def tokens(at, count, rate):
    loop = asyncio.get_running_loop()
    for k in range(count):
        await asyncio.sleep(max(0.0, at + k / rate - loop.time()))
        yield token(k)
