-- The roles of query-api and of SQL users. Runs once, on an empty volume.
-- The reader role reads everything and changes nothing.
\getenv password READER_PASSWORD
create role fleetwire_reader login password :'password' in role pg_read_all_data;
alter role fleetwire_reader set default_transaction_read_only = on;
-- The operator role, for work on dead letters, changes rows but no tables.
\getenv password OPERATOR_PASSWORD
create role fleetwire_operator login password :'password' in role pg_read_all_data, pg_write_all_data;
-- The role for SQL of users reads the views of the schema api_v1 (docs/sql.md), which the migration grants.
\getenv password SQL_PASSWORD
create role fleetwire_sql login password :'password' connection limit 8;
alter role fleetwire_sql set default_transaction_read_only = on;
alter role fleetwire_sql set statement_timeout = '60s';
alter role fleetwire_sql set idle_in_transaction_session_timeout = '60s';
alter role fleetwire_sql set search_path = api_v1;
