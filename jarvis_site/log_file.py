"""A log file that several processes append to, and that never grows beyond its share of the disk."""

import fcntl
import os
from pathlib import Path


class ShortWrite(OSError):
    """Only the first `written_bytes` of what was given stand in the file."""

    def __init__(self, path: Path, written_bytes: int) -> None:
        super().__init__(f"{path}: only {written_bytes} bytes were written")
        self.written_bytes = written_bytes


class RotatingFile:
    """Appends whole lines to `path`; when it is full it becomes `path.1`, and the oldest of `backups` goes.

    `O_APPEND` keeps the lines of several processes apart. Whoever finds the file full renames it under a lock; the
    others see at their next line that the name leads to another file, and follow. No line is lost by this.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int = 5) -> None:
        self._path, self._max_bytes, self._backups = path, max_bytes, backups
        self._descriptor = -1
        self._identity = (-1, -1)
        self._is_torn = False

    def write(self, lines: bytes) -> None:
        """Raises OSError (a full disk, say; ShortWrite); the file is opened anew if need be with the next lines."""
        size_bytes = self._size()
        if size_bytes < 0:
            self._open()
            size_bytes = self._size()
        if 0 < size_bytes > self._max_bytes - len(lines):
            self._rotate(len(lines))
        mend = b"\n" if self._is_torn else b""
        written_bytes = os.write(self._descriptor, mend + lines) - len(mend)
        if written_bytes >= 0:
            self._is_torn = written_bytes > 0 and not lines[:written_bytes].endswith(b"\n")
        if written_bytes < len(lines):
            raise ShortWrite(self._path, written_bytes)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._identity = -1, (-1, -1)

    def _size(self) -> int:
        """Of the file that has the name; -1 if that is not the one we hold."""
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return -1
        return status.st_size if (status.st_dev, status.st_ino) == self._identity else -1

    def _open(self) -> None:
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        status = os.fstat(self._descriptor)
        self._identity = (status.st_dev, status.st_ino)

    def _rotate(self, needed_bytes: int) -> None:
        with open(f"{self._path}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._size() > self._max_bytes - needed_bytes:  # nobody was faster
                for number in range(self._backups - 1, 0, -1):
                    if os.path.exists(f"{self._path}.{number}"):
                        os.replace(f"{self._path}.{number}", f"{self._path}.{number + 1}")
                os.replace(self._path, f"{self._path}.1")
            self._open()
