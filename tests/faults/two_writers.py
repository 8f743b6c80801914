"""`python -m tests.faults.two_writers`: two processes on one SQLite file, 400 write transactions each, all at once.

Each transaction reads before it writes, which is what loses most of them to "database is locked" unless a transaction
takes the write lock when it begins (`transaction_mode` IMMEDIATE).
"""
# ruff: noqa: T201  (a command prints what it found)

import subprocess
import sys
from contextlib import ExitStack

from tests.cluster.cluster import Cluster
from tests.live.server import PROJECT, environment

TRANSACTIONS = 400
CODE = f"""
from django.db import transaction
from chat.models import ChatSession
errors = 0
for number in range({TRANSACTIONS}):
    try:
        with transaction.atomic():
            newest = ChatSession.objects.order_by("-created_at").first()
            ChatSession.objects.create(title=f"after {{newest}}"[:80])
    except Exception as error:
        errors += 1
        print(repr(error))
print("errors", errors)
"""


def main() -> int:
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster())
        command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", CODE]
        env = environment(cluster.folder / "manage", cluster.settings)
        writers = [
            stack.enter_context(subprocess.Popen(command, cwd=PROJECT, env=env, stdout=subprocess.PIPE, text=True))
            for _ in range(2)
        ]
        outputs = [writer.communicate()[0] for writer in writers]
        count = "from chat.models import ChatSession; print(ChatSession.objects.count())"
        stored = int(cluster.run("shell", "-v", "0", "-c", count).split()[-1])
    errors = [line for output in outputs for line in output.splitlines() if "Error" in line]
    print(f"{2 * TRANSACTIONS} transactions, {stored} stored, {len(errors)} failed", *errors[:3])
    return int(stored != 2 * TRANSACTIONS or bool(errors))


if __name__ == "__main__":
    raise SystemExit(main())
