#!/bin/sh
# Says on the primary, as its superuser, what a commit waits for:
#
#   synchronous.sh on      for the standby, as keyreeve.conf has it; refused while there is none
#   synchronous.sh off     for nobody: what is answered from now on is lost with this server
#
# `off` is for an operator who has lost the standby and decides that service goes before safety.
set -eu

sql() {
    psql -X -q -A -t -v ON_ERROR_STOP=1 -d postgres -c "$1"
}

# Waits ten seconds for something to be true on the server.
wait_for() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(sql "SELECT $1")" = f ] || return 0
        sleep 1
    done
    return 1
}

case ${1:-} in
on)
    wait_for "EXISTS (SELECT FROM pg_stat_replication WHERE state = 'streaming')" || {
        echo 'error: no standby follows this primary: commits would wait for it' >&2
        exit 1
    }
    sql 'ALTER SYSTEM RESET synchronous_standby_names'
    sql 'SELECT pg_reload_conf()' >/dev/null
    # Commits wait from here on; those before did not.
    wait_for "EXISTS (SELECT FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum'))" || {
        echo 'error: no standby counts: is its cluster_name in synchronous_standby_names?' >&2
        exit 1
    }
    ;;
off)
    sql "ALTER SYSTEM SET synchronous_standby_names = ''"
    sql 'SELECT pg_reload_conf()' >/dev/null
    ;;
*)
    echo 'usage: synchronous.sh on|off' >&2
    exit 2
    ;;
esac
