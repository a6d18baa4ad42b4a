"""The same life of turns through SQLAlchemy, 1.4 or newer, over psycopg2. Needs DATABASE_URL."""

import json
import os
import select
import uuid
from datetime import datetime, timedelta, timezone

from sqlalchemy import create_engine, text

# SQLAlchemy wants the driver in the URL, and does not know postgres://.
engine = create_engine("postgresql+psycopg2://" + os.environ["DATABASE_URL"].split("://", 1)[1])

TERMINAL = {"process.completed", "process.failed", "process.cancelled", "process.abandoned"}


def call(sql, **values):
    """The one value that a statement gives. What it does is visible to workers with its commit."""
    with engine.begin() as conn:
        return conn.execute(text(sql), values).scalar_one()


def submit(said, key=None, **options):
    # cast(…), since :input::jsonb would read as a parameter of another name to some versions.
    return call(
        "select towpath.submit('deepseek', cast(:input as jsonb), null, :key, cast(:options as jsonb))",
        input=json.dumps({"text": said}), key=key, options=json.dumps(options),
    )


def follow(process):
    """Yields (type, data) until the turn has ended. A notification only wakes: the sequence number is the truth."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.detach()  # its pool would hand it on as it listens
        conn.execute(text("listen towpath_events"))  # before the first look, so that nothing falls between
        driver = conn.connection.dbapi_connection
        after = 0
        while True:
            events = text("select seq, type, data from towpath.events(:process, :after)")
            for seq, kind, data in conn.execute(events, {"process": process, "after": after}).fetchall():
                after = seq
                yield kind, data
                if kind in TERMINAL:
                    return
            select.select([driver], [], [], 1.0)
            driver.poll()  # lets the connection read what has come
            driver.notifies.clear()


def speaking(process):
    for kind, _ in follow(process):
        if kind == "message.delta":
            return


def ended(process):
    for kind, _ in follow(process):
        if kind in TERMINAL:
            return kind[len("process."):]


def status(process):
    return call("select status from towpath.process(:process)", process=process)


def cancel(process, why):
    return call("select towpath.cancel(:process, :why)", process=process, why=why)


process = submit("100 % of the towpath runs along the water")
print("said: ", end="")
for kind, data in follow(process):
    if kind == "message.delta":
        print(data["text"], end="", flush=True)
print()
print("ended:", status(process))
# text() doubles the % for the driver.
whole = "select count(*) > 0 from towpath.events(:process) where type like 'message.del%'"
print("its pieces are found with a %:", str(call(whole, process=process)).lower())

key = str(uuid.uuid4())
print("the same request is the same turn:", str(submit("once", key=key) == submit("once", key=key)).lower())

tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
process = submit("later", scheduled_at=tomorrow.isoformat())
print("scheduled for tomorrow:", status(process), end=", then ")
print(cancel(process, "changed my mind"))

process = submit("[[pace:150ms]] one two three four five six")
speaking(process)
call("select towpath.steer(:process, cast(:input as jsonb))", process=process, input=json.dumps({"text": "and mind the locks"}))
print("steered while it spoke:", ended(process))

process = submit("[[pace:300ms]] one two three four five six seven eight nine ten")
speaking(process)
cancel(process, "enough")
print("cancelled while it spoke:", ended(process))

bulk = int(os.environ.get("BULK", 100_000))
later = {"scheduled_at": "2099-01-01T00:00:00Z"}
items = [{"profile": "deepseek", "input": {"text": f"number {n}"}, "options": later} for n in range(bulk)]
accepted = call("select count(*) from towpath.submit_many(cast(:items as jsonb))", items=json.dumps(items))
print("in one call:", accepted, "turns accepted")
