#!/bin/sh
# Makes the standby on this host the primary. To be run by the user of PostgreSQL, with the programs of
# PostgreSQL on PATH (Debian: /usr/lib/postgresql/15/bin) and PGDATA set:
#
#   FENCE='ssh db1 sudo systemctl stop postgresql' promote.sh OLD_HOST OLD_PORT
#
# FENCE is a command that makes sure that the old primary takes no connection any more, and will not
# by itself: stop it, switch its power off, or close its network. It comes first, for a primary that
# lives on beside the new one would go on telling its nodes that nothing was revoked. Where FENCE fails
# or the old primary still answers, nothing is promoted.
#
# The new primary has no standby yet, so it commits alone until make-standby.sh has made one and
# synchronous.sh has put the wait for it back. ALONE=no leaves the wait on: then nothing is written
# before there is a standby.
set -eu

old_host=${1:?the host of the old primary}
old_port=${2:?the port of the old primary}
: "${PGDATA:?the data folder of this standby}"
: "${FENCE:?a command that stops the old primary; see the head of this file}"

fail() {
    echo "error: $1" >&2
    exit 1
}

sql() {
    psql -X -q -A -t -v ON_ERROR_STOP=1 -d postgres -c "$1"
}

[ "$(sql 'SELECT pg_is_in_recovery()')" = t ] || fail 'this server is no standby'

echo 'fencing the old primary' >&2
sh -c "$FENCE" || fail 'the old primary could not be fenced: nothing was promoted'
# 0: it takes connections; 1: it is starting or stopping; 2: nobody is there.
status=0
pg_isready -q -h "$old_host" -p "$old_port" -t 3 || status=$?
[ "$status" -eq 2 ] || fail "the old primary still answers at $old_host:$old_port: nothing was promoted"

# Set in both cases: the file of such settings came over from the old primary.
if [ "${ALONE:-yes}" = yes ]; then
    sql "ALTER SYSTEM SET synchronous_standby_names = ''"
else
    sql 'ALTER SYSTEM RESET synchronous_standby_names'
fi
sql 'SELECT pg_reload_conf()' >/dev/null
pg_ctl promote -s -w -t 60 -D "$PGDATA"
echo "promoted; commits wait for a standby: $([ "${ALONE:-yes}" = yes ] && echo no || echo yes)" >&2
