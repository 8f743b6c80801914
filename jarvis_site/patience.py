"""What the end of a server may take beyond `SHUTDOWN_GRACE_SECONDS`: whoever supervises it has to wait as long."""

CLEANUP_SECONDS = 2.0  # what a cancelled application has for its `finally`, and then any other task
CLOSE_SECONDS = 4.0  # what the bus waits for a storage that is away, and a little more
FLUSH_SECONDS = 1.0  # what the last bytes of a drained server have to leave
BEYOND_GRACE_SECONDS = CLEANUP_SECONDS + CLOSE_SECONDS + CLEANUP_SECONDS + FLUSH_SECONDS
KILL_SECONDS = BEYOND_GRACE_SECONDS + 1.0  # later it hangs
