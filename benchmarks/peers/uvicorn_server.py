"""`python uvicorn_server.py MODULE:APP PORT`: uvicorn at its fastest (uvloop, httptools, no access log)."""

import sys
from pathlib import Path

import uvicorn

if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    uvicorn.run(
        sys.argv[1],
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
