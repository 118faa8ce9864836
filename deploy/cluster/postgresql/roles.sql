-- Once, on the first primary, as its superuser, with both passwords in the environment, where other
-- users of the machine do not see them:
--   psql -X -f roles.sql postgres
\set ON_ERROR_STOP on
\getenv keyreeve_password KEYREEVE_PASSWORD
\getenv replicator_password REPLICATOR_PASSWORD

CREATE ROLE keyreeve LOGIN PASSWORD :'keyreeve_password';
CREATE DATABASE keyreeve OWNER keyreeve ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE keyreeve FROM PUBLIC;

CREATE ROLE replicator LOGIN REPLICATION PASSWORD :'replicator_password';
-- What pg_rewind reads (PostgreSQL 15, pg_rewind, "Notes").
GRANT EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text, boolean, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_file(text, boolean) TO replicator;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text) TO replicator;
GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
-- The checkpoint that tells it where the lines parted, and the slot of the standby.
GRANT pg_checkpoint TO replicator;
