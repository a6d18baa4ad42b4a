#!/bin/sh
set -eu
cd "$(dirname "$0")"
# The distribution's python3 has the distribution's psycopg, whatever else is first in PATH.
python=python3
$python -c 'import psycopg, sqlalchemy, psycopg2' 2>/dev/null || python=/usr/bin/python3
export PYTHONDONTWRITEBYTECODE=1
$python run.py
echo 'with SQLAlchemy:'
$python alchemy.py
