"""The same through SQLAlchemy, 1.4 or newer, over psycopg2. Needs DATABASE_URL."""

import json
import os
import time

from sqlalchemy import create_engine, text

# SQLAlchemy wants the driver in the URL, and does not know postgres://.
engine = create_engine("postgresql+psycopg2://" + os.environ["DATABASE_URL"].split("://", 1)[1])

with engine.begin() as conn:  # the turn is visible to workers with this commit
    process = conn.execute(
        # cast(…), since :input::jsonb would read as a parameter of another name to some versions.
        text("select towpath.submit('deepseek', cast(:input as jsonb))"),
        {"input": json.dumps({"text": "100 % of it"})},
    ).scalar_one()

status = None
while status not in ("completed", "failed", "cancelled", "abandoned"):
    time.sleep(0.1)
    with engine.connect() as conn:
        status = conn.execute(text("select status from towpath.process(:id)"), {"id": process}).scalar_one()
with engine.connect() as conn:
    said = conn.execute(
        text("select string_agg(data ->> 'text', '' order by seq) from towpath.events(:id) where type like 'message.del%'"), {"id": process}
    ).scalar_one()
print(f"with SQLAlchemy: {status}, and its input says {said}")
