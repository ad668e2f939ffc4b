-- query-api's roles. Runs once, on an empty volume.
-- It reads everything with one that changes nothing,
\getenv password READER_PASSWORD
create role fleetwire_reader login password :'password' in role pg_read_all_data;
alter role fleetwire_reader set default_transaction_read_only = on;
-- and works on dead letters with one that changes rows, but no table.
\getenv password OPERATOR_PASSWORD
create role fleetwire_operator login password :'password' in role pg_read_all_data, pg_write_all_data;
