#!/bin/sh
set -eu
cd "$(dirname "$0")"
exec java -cp "${JDBC_DRIVER:-/usr/share/java/postgresql.jar}" Run.java
