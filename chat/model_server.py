"""llama.cpp's server, in a process where a crash harms nobody. Started by `model_process.py`, never by hand.

Reads one JSON line (`ModelOrder`) from standard input, then writes one JSON line to standard output: `{"url": …}` as
soon as the model answers, or `{"error": …}`. Whatever llama.cpp itself has to say goes to standard error. The process
ends when its standard input closes, and with its parent, however that dies.
"""

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

SLOTS = 4  # run together; a fifth prompt waits for one of them to end
CONTEXT_TOKENS = 8192  # of all slots: 2,048 for each
NICENESS = 5  # where both want the last core, the web process gets three quarters of it
# One core is left alone: llama.cpp's threads spin while they wait for each other, at every step. On two cores, with one
# of them busy, two threads make 6 tokens/s and one makes 44; with both idle 86 and 61.
SPARED_CORES = 1
MAX_THREADS = 8  # more do not make a small model faster
PROMPT_CACHE_MIB = 256  # llama.cpp's default of 8 GiB is a leak by another name
# When a conversation no longer fits, its oldest turns go, and the rest stands elsewhere in the prompt. It is moved, not
# read again: 2.9 s to the answer to 1,360 tokens instead of 11.6. For that, a slot that shares only the system prompt
# must be chosen.
REUSED_PIECE_TOKENS = 32
SLOT_SIMILARITY = 0.001
HTTP_THREADS = 128  # a waiting prompt holds one; with the default of six, forty prompts keep `/health` waiting 9 s
PR_SET_PDEATHSIG = 1


def main() -> int:
    order = json.loads(sys.stdin.readline())
    news = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp prints where it likes; standard output is for the one line
    end_with_parent(order["parent_pid"])
    give_way()
    try:
        server = start_server(order)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        print(json.dumps({"error": str(error)}), file=news, flush=True)
        return 1
    print(json.dumps({"url": server.listening_address}), file=news, flush=True)
    sys.stdin.read()
    os._exit(0)  # without waiting for the threads of llama.cpp, which know no end


def end_with_parent(parent_pid: int) -> None:
    """Linux ends this process when its parent dies; elsewhere the closing of standard input has to do."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:  # it died before we asked
            os._exit(1)


def give_way() -> None:
    """Lowers this process's priority, and where the kernel weighs whole sessions (autogroup), that of our session."""
    os.nice(NICENESS)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def start_server(order: dict[str, Any]) -> Any:
    """Returns when the model is loaded and answers on 127.0.0.1, on a port that the kernel has chosen."""
    import xllamacpp  # not before: 100 MB, and missing where another endpoint answers

    params = xllamacpp.CommonParams()
    params.model.path = order["path"]
    params.model_alias = {order["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [order["key"]]
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS
    params.n_threads_http = HTTP_THREADS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.n_cache_reuse = REUSED_PIECE_TOKENS
    params.slot_prompt_similarity = SLOT_SIMILARITY
    params.ui = False
    params.offline = True
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = threads(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)
        cpu.poll = 0  # idle threads sleep; spinning takes the core from the web process
    for name, value in order["sampling"].items():
        setattr(params.sampling, name, value)
    return xllamacpp.Server(params)


def threads(cores: int) -> int:
    return max(1, min(cores - SPARED_CORES, MAX_THREADS))


if __name__ == "__main__":
    sys.exit(main())
