-- query-api's role: it reads everything and changes nothing. Runs once, on an empty volume.
\getenv password READER_PASSWORD
create role fleetwire_reader login password :'password' in role pg_read_all_data;
alter role fleetwire_reader set default_transaction_read_only = on;
