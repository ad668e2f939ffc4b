-- The roles of query-api. Runs once, on an empty volume.
-- The reader role reads everything and changes nothing.
\getenv password READER_PASSWORD
create role fleetwire_reader login password :'password' in role pg_read_all_data;
alter role fleetwire_reader set default_transaction_read_only = on;
-- The operator role, for work on dead letters, changes rows but no tables.
\getenv password OPERATOR_PASSWORD
create role fleetwire_operator login password :'password' in role pg_read_all_data, pg_write_all_data;
