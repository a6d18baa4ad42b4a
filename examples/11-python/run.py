"""The whole life of turns through psycopg. Needs DATABASE_URL."""

import os
import uuid
from datetime import datetime, timedelta, timezone

import psycopg

import towpath

dsn = os.environ["DATABASE_URL"]


def speaking(process):
    for kind, _ in towpath.follow(dsn, process):
        if kind == "message.delta":
            return


with psycopg.connect(dsn, autocommit=True) as conn:
    process = towpath.submit(conn, "the towpath runs along the water")
    print("said: ", end="")
    for kind, data in towpath.follow(dsn, process):
        if kind == "message.delta":
            print(data["text"], end="", flush=True)
    print()
    print("ended:", towpath.status(conn, process))

    key = str(uuid.uuid4())
    same = towpath.submit(conn, "once", key=key) == towpath.submit(conn, "once", key=key)
    print("the same request is the same turn:", str(same).lower())

    tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
    process = towpath.submit(conn, "later", scheduled_at=tomorrow.isoformat())
    print("scheduled for tomorrow:", towpath.status(conn, process), end=", then ")
    print(towpath.cancel(conn, process, "changed my mind"))

    process = towpath.submit(conn, "[[pace:150ms]] one two three four five six")
    speaking(process)
    towpath.steer(conn, process, "and mind the locks")
    print("steered while it spoke:", towpath.ended(dsn, process))

    process = towpath.submit(conn, "[[pace:300ms]] one two three four five six seven eight nine ten")
    speaking(process)
    towpath.cancel(conn, process, "enough")
    print("cancelled while it spoke:", towpath.ended(dsn, process))

    bulk = int(os.environ.get("BULK", 100_000))
    later = {"scheduled_at": "2099-01-01T00:00:00Z"}
    items = [{"profile": "deepseek", "input": {"text": f"number {n}"}, "options": later} for n in range(bulk)]
    print("in one call:", towpath.submit_many(conn, items), "turns accepted")
