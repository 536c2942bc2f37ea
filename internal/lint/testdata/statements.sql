-- One case a paragraph; what is found is in statements.golden.

alter table t add column a text;

alter table t add column a text default 'x' not null;

alter table t add column a timestamptz default now();

alter table only public.t
  add column ü text, drop column "Straße", alter "N" drop default;

alter table t drop column a, add column b int not null;

alter table t drop column a cascade;

alter table t add b bigserial;

alter table t add b uuid default gen_random_uuid();

alter table t add b text default app.slug();

alter table t add b int generated always as (a * 2) stored;

alter table t add b int generated always as identity;

alter table t add b int check (b > 0), add c int unique, add d int primary key;

alter table t add b int references p;

alter table t add b int default 1 references p;

alter table t alter a type bigint;

alter table t alter a type varchar(40);

alter table t alter a type text using lower(a);

alter table t alter a set not null;

alter table t add constraint c check (a is not null) not valid;
alter table t validate constraint c;
alter table t alter a set not null;
alter table t drop constraint c;

alter table t validate constraint before;
alter table t alter a set not null;

alter table t alter a drop not null;

alter table t alter a drop default, alter b set default 7;

alter table t add constraint c check (a > 0);

alter table t add constraint c check (a > 0) not valid;

alter table t add column n int; alter table t add constraint c check (n > 0) not valid;

alter table t add foreign key (a) references p;

alter table t add foreign key (a) references p not valid;

alter table t add constraint u unique (a);

alter table t add constraint u unique using index i;

alter table t add constraint u primary key using index i;

alter table t add exclude using gist (during with &&);

alter table t add constraint n not null c not valid;

alter table t drop constraint u;

alter table t set tablespace fast;

alter table t set unlogged;

alter table t disable trigger all;

alter table t enable row level security;

alter table t owner to app;

alter table t set (fillfactor = 70), alter a set statistics 500;

alter table t replica identity full;

alter table t inherit p;

alter table p attach partition q for values in (1);

alter table p detach partition q;

alter table p detach partition q concurrently;

create table q partition of p for values in (1);

create table p (a int) partition by list (a); create table q partition of p default;

drop table a, s.b;

drop table if exists a cascade;

drop view v;

drop materialized view v;

drop function f(int), g;

drop type e;

drop sequence s;

drop schema s;

drop trigger tr on t;

drop policy po on t;

drop extension hstore;

drop index i;

drop index concurrently i;

alter table t rename to u;

begin; alter table t rename to u; create view t as select * from u; commit;

alter table t rename column a to b;

alter view v rename to w;

alter index i rename to j;

alter type e rename value 'a' to 'b';

alter type e add value 'c' after 'a';

alter table t rename constraint a to b;

alter table t set schema s;

alter type ty add attribute a int;

alter type ty drop attribute a;

alter domain d add constraint c check (value > 0);

alter domain d drop not null;

alter sequence s restart with 1;

create index i on t (a);

create unique index concurrently if not exists i on t (a);

create index concurrently i on t (a);

begin; create index concurrently i on t (a); commit;

create index i on only p (a);

reindex table t;

reindex (concurrently) table t;

refresh materialized view v;

refresh materialized view concurrently v;

create table n (a int); create index on n (a); alter table n add check (a > 0), alter a set not null; drop table n;

create schema s; create table s.n (a int); create index on s.n (a);

create materialized view v as select 1 as a; create unique index on v (a); refresh materialized view v;

truncate a, b cascade;

lock table t;

lock table t in access share mode;

vacuum full t;

vacuum t; analyze t;

cluster t using i;

set lock_timeout = '1s';

set search_path = app;

set role app;

set session_replication_role = replica;

alter system set fsync = off;

alter role app set work_mem = '1GB';

grant select on t to app;

revoke select on t from app;

update t set a = 1;

update t set a = 1 where a is null;

delete from t where true;

with gone as (delete from t returning *) select count(*) from gone;

insert into t values (1);

insert into t select * from u;

merge into t using u on t.a = u.a when matched then delete;

copy t from '/tmp/x';

copy t to program 'cat';

select count(*) from t;

select setval('s', 1);

select app.repair();

call repair();

create or replace view v as select 1;

create view v as select 1;

create function f() returns int language sql as 'select 1';

create or replace function f() returns void language plpgsql as $$
begin
  perform 1;
  alter table t
    drop column é, drop column c;
  execute 'create index i on t (a)';
  execute 'drop table ' || name;
  update t set a = 1;
end $$;

create function f() returns void language sql as $f$ truncate é; drop table t; $f$;

create function f() returns void language sql as 'select ''é''; drop table t';

create function f() returns void begin atomic delete from t; end;

create function f() returns int language c as 'lib', 'f';

create function f() returns int language plpython3u as 'return 1';

create function f() returns void language plpgsql as $$ begin if then end $$;

do $$ begin update t set a = 1; perform app.repair(); end $$;

do $$ begin create table n (a int); create index on n (a); end $$; create index on n (a);

do $$ declare x int := 3; begin if x = 3 then lock table t; end if; for x in select 1 loop execute format('x %s', x); end loop; end $$;

create trigger tr before insert on t for each row execute function f();

create rule ru as on insert to t do instead nothing;

create policy po on t using (true);

begin; drop function f(); create function f() returns int language sql as 'select 1'; commit;

drop function f(); create function f() returns int language sql as 'select 1';

begin; alter table a add x int; alter table b add x int; commit;

begin; alter table a add constraint c check (x > 0) not valid; alter table a validate constraint c; commit;

begin; alter table a add x int; update a set x = 1 where x is null; commit;

begin; alter table a add x int;

commit;

drop table gapless.change;

select * from gapless.change;

drop schema gapless;

selec 1; drop table t;

\connect other

create publication p for all tables;

create extension hstore; comment on table t is 'x';

prepare x as delete from t;

explain analyze delete from t;

explain delete from t;

-- gapless:allow not-concurrent: the table has ten rows
create index i on t (a);

create index i on t (a); -- gapless:allow not-concurrent: the table has ten rows

-- gapless:allow drop-table: nobody uses it
drop table t;

-- gapless:allow not-concurrent: not so
drop table t;

-- gapless:allow not-concurrent
create index i on t (a);

/* gapless:allow nothing: because */ select 1;

select 'unclosed;
