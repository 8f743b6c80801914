"""`python daphne_on_uvloop.py serve`: manage.py, with uvloop's loops for all; Daphne makes its own when imported."""

import asyncio
import runpy
import sys
from pathlib import Path

import uvloop

if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    sys.path[0] = str(Path.cwd())
    runpy.run_path("manage.py", run_name="__main__")
