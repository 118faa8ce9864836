#!/bin/sh
# Makes this host's server a standby of the primary: a former primary after a failover, or a new host.
# To be run by the user of PostgreSQL while the server here is stopped, with the programs of PostgreSQL
# on PATH and PGDATA set; the password of the role replicator comes from ~/.pgpass or PGPASSFILE.
#
#   PGCONFIG=/etc/postgresql/15/main/postgresql.conf \
#       make-standby.sh 'host=db2 port=5432 user=replicator sslmode=verify-full sslrootcert=...'
#
# A former primary is taken back to where the lines parted (pg_rewind); commits that it had not got to
# the other server are undone, and nobody was told that those were done. Where that cannot be, its
# folder is moved aside and the data is copied anew. Start the server afterwards, then
# synchronous.sh on the primary.
set -eu

primary=${1:?a connection string of the primary}
: "${PGDATA:?the data folder of this server}"
slot=keyreeve_standby

fail() {
    echo "error: $1" >&2
    exit 1
}

if [ -f "$PGDATA/postmaster.pid" ] && pg_ctl status -D "$PGDATA" >/dev/null; then
    fail 'the server here runs: stop it first'
fi

# The slot holds back on the primary what the standby has yet to fetch.
psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$primary dbname=postgres" -c "
    SELECT pg_create_physical_replication_slot('$slot')
    WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$slot')" >/dev/null ||
    fail 'the primary does not answer, or has no room for a slot'

rewound=no
if [ -f "$PGDATA/PG_VERSION" ]; then
    psql -X -q -d "$primary dbname=postgres" -c CHECKPOINT || fail 'the primary does not answer'
    set -- -D "$PGDATA" --source-server="$primary dbname=postgres" --write-recovery-conf
    [ -z "${PGCONFIG:-}" ] || set -- "$@" --config-file="$PGCONFIG"
    if pg_rewind "$@"; then
        rewound=yes
    else
        aside="$PGDATA.before.$(date +%Y%m%d%H%M%S)"
        echo "pg_rewind cannot; the old data goes to $aside" >&2
        mv "$PGDATA" "$aside"
    fi
fi
if [ "$rewound" = no ]; then
    pg_basebackup -d "$primary" -D "$PGDATA" --write-recovery-conf --slot="$slot" --checkpoint=fast
fi
# The slot of the time when this server was the primary would hold everything back for ever.
rm -rf "$PGDATA/pg_replslot/$slot"
echo 'ready: start this server' >&2
