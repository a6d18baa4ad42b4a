"""Turns from Python, with psycopg 3: six small functions, and no library of ours."""

import psycopg
from psycopg.types.json import Jsonb

TERMINAL = {"process.completed", "process.failed", "process.cancelled", "process.abandoned"}


def submit(conn, text, *, session=None, key=None, **options):
    # A dict is no jsonb by itself: wrap it. A % in SQL is written %% once there are parameters.
    row = conn.execute(
        "select towpath.submit(%s, %s, %s, %s, %s)",
        ("deepseek", Jsonb({"text": text}), session, key, Jsonb(options)),
    ).fetchone()
    return row[0]


def follow(dsn, process):
    """Yields (type, data) until the turn has ended. A notification only wakes: the sequence number is the truth."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("listen towpath_events")  # before the first look, so that nothing falls between
        after = 0
        while True:
            for seq, kind, data in conn.execute("select seq, type, data from towpath.events(%s, %s)", (process, after)).fetchall():
                after = seq
                yield kind, data
                if kind in TERMINAL:
                    return
            wait(conn)


def wait(conn, seconds=1.0):
    """Returns with the next notification, or after a second: none is promised."""
    import select

    # psycopg 3.2 has notifies(timeout=…); this works with 3.1 too.
    select.select([conn.fileno()], [], [], seconds)
    conn.execute("select 1")  # lets the connection read what has come


def ended(dsn, process):
    for kind, _ in follow(dsn, process):
        if kind in TERMINAL:
            return kind.removeprefix("process.")


def status(conn, process):
    return conn.execute("select status from towpath.process(%s)", (process,)).fetchone()[0]


def cancel(conn, process, why):
    return conn.execute("select towpath.cancel(%s, %s)", (process, why)).fetchone()[0]


def steer(conn, process, text):
    return conn.execute("select towpath.steer(%s, %s)", (process, Jsonb({"text": text}))).fetchone()[0]


def submit_many(conn, items):
    """All or none, in one round trip."""
    return conn.execute("select count(*) from towpath.submit_many(%s)", (Jsonb(items),)).fetchone()[0]
