-- Gapless's own schema. Run before each change: everything here is safe to repeat.
create schema if not exists gapless;
comment on schema gapless is 'What gapless did to this database, and what it needs to go on. Owned by the role that runs changes.';

create table if not exists gapless.change (
  id text primary key,
  digest text not null,
  name text not null,
  relation regclass,
  state text not null check (state in ('expanding', 'expanded', 'reverting', 'hidden', 'contracting', 'contracted', 'restoring')),
  mapping jsonb,
  begun_at timestamptz not null default clock_timestamp(),
  expanded_at timestamptz,
  hidden_at timestamptz,
  contracting_at timestamptz,
  contracted_at timestamptz,
  role name not null default session_user,
  since timestamptz not null default clock_timestamp(),
  service text not null default coalesce(current_setting('gapless.service', true), ''),
  columns text[] not null default '{}',
  ends boolean not null default true,
  file text not null default '',
  source text not null default ''
);
comment on table gapless.change is 'One row for each schema change that stands here, or did until its contract.';
comment on column gapless.change.id is 'The name of its file, without the extension.';
comment on column gapless.change.name is 'What it does, in the words of its file.';
comment on column gapless.change.state is 'Where it stands; docs/design.md has the moves.';
comment on column gapless.change.role is 'The role that began it.';
comment on column gapless.change.since is 'When it came into its state.';
comment on column gapless.change.service is 'The service whose release brought it.';
comment on column gapless.change.columns is 'The columns of the table that it holds on to until it ends; * is all of them.';
comment on column gapless.change.ends is 'Whether something is still to come once it is expanded: a contract, or the end of keeping two forms in step.';
comment on column gapless.change.file is 'The file that it was begun with, by name.';
comment on column gapless.change.source is 'And its text: gapless restore reads it here.';
comment on column gapless.change.digest is 'SHA-256 of the change file: an edited file under the same name is refused.';
comment on column gapless.change.relation is 'The table; null for a change without one, or before there is one.';
comment on column gapless.change.mapping is 'The expressions of sync as PostgreSQL read them, every name qualified: {"forward": {...}, "backward": {...}}.';

create table if not exists gapless.step (
  change text not null references gapless.change on delete cascade,
  step text not null,
  begun_at timestamptz not null default clock_timestamp(),
  done_at timestamptz,
  evidence jsonb,
  primary key (change, step)
);
comment on table gapless.step is 'How far each change has come, and what each finished step observed.';

create table if not exists gapless.log (
  n bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  change text not null,
  step text not null,
  statement text not null,
  seconds double precision not null,
  role name not null default session_user,
  application text not null default current_setting('application_name'),
  service text not null default coalesce(current_setting('gapless.service', true), ''),
  run text not null default coalesce(current_setting('gapless.run', true), ''),
  actor text not null default coalesce(current_setting('gapless.actor', true), '')
);
comment on table gapless.log is 'Every statement by which gapless changed a definition of this database, in order, noted in the transaction that ran it.';
comment on column gapless.log.run is 'The job that ran it, as the rollout''s record names it.';
comment on column gapless.log.actor is 'The person behind the job.';

create table if not exists gapless.history (
  n bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  change text not null,
  was text not null,
  state text not null,
  role name not null default session_user,
  application text not null default current_setting('application_name'),
  service text not null default coalesce(current_setting('gapless.service', true), ''),
  run text not null default coalesce(current_setting('gapless.run', true), ''),
  actor text not null default coalesce(current_setting('gapless.actor', true), '')
);
comment on table gapless.history is 'Who brought each change from which state into which, and when. It stays when the change is gone.';
comment on column gapless.history.run is 'The job that did, as the rollout''s record names it.';
comment on column gapless.history.actor is 'The person behind the job.';

create or replace function gapless.note_state() returns trigger
  language plpgsql set search_path = pg_catalog, pg_temp as $gapless$
begin
  if tg_op = 'INSERT' then
    insert into gapless.history (change, was, state) values (new.id, 'absent', new.state);
    return new;
  end if;
  if tg_op = 'DELETE' then
    insert into gapless.history (change, was, state) values (old.id, old.state, 'absent');
    return old;
  end if;
  if new.state <> old.state then
    insert into gapless.history (change, was, state) values (new.id, old.state, new.state);
    new.since := clock_timestamp();
  end if;
  return new;
end $gapless$;
revoke all on function gapless.note_state() from public;
comment on function gapless.note_state() is 'Keeps gapless.history.';
create or replace trigger note_state before insert or update of state or delete on gapless.change
  for each row execute function gapless.note_state();

create table if not exists gapless.claim (
  service text not null,
  relation regclass not null,
  columns text[] not null default '{}',
  rollout text not null,
  since timestamptz not null default clock_timestamp(),
  role name not null default session_user,
  run text not null default coalesce(current_setting('gapless.run', true), ''),
  actor text not null default coalesce(current_setting('gapless.actor', true), ''),
  primary key (service, relation, rollout)
);
comment on table gapless.claim is 'What each service says that it uses (schema.uses in its config). Contract takes nothing away that is claimed. While a rollout is under way, what it uses and what the one before did are both here.';
comment on column gapless.claim.columns is 'The columns; none is the whole table.';
comment on column gapless.claim.rollout is 'The rollout that brought the claim.';
comment on column gapless.claim.since is 'From when on the service has claimed just this.';

create table if not exists gapless.checkpoint (
  change text not null references gapless.change on delete cascade,
  step text not null,
  part int not null,
  lower text[],
  upper text[],
  reached text[],
  rows bigint not null default 0,
  done boolean not null default false,
  at timestamptz not null default clock_timestamp(),
  primary key (change, step, part)
);
comment on table gapless.checkpoint is 'How far a walk along the key has come. Written in the transaction that did the work, so it is never ahead of it nor behind it.';
comment on column gapless.checkpoint.lower is 'The part begins after this key; null for the first one.';
comment on column gapless.checkpoint.upper is 'The part ends with this key; null for the last one.';
comment on column gapless.checkpoint.reached is 'Done up to and with this key.';

create table if not exists gapless.control (
  change text primary key,
  paused boolean not null default false,
  max_rate bigint check (max_rate > 0),
  why text,
  by text not null default session_user,
  role name not null default session_user,
  at timestamptz not null default clock_timestamp()
);
comment on table gapless.control is 'What people ask of the backfills, read by those at work twice a second: by "gapless pause" and "gapless resume", or by hand.';
comment on column gapless.control.change is 'The change, or * for every one.';
comment on column gapless.control.paused is 'Waits after its batch, without a transaction, until this is false or the row is gone.';
comment on column gapless.control.max_rate is 'The most rows a second, over all workers; null leaves it as the runner was told. The row of a change goes before the one of every change.';
comment on column gapless.control.why is 'Shown to who watches the backfill.';
comment on column gapless.control.by is 'The person, or the role, that asked.';

create table if not exists gapless.kept (
  n bigint generated always as identity primary key,
  change text not null,
  tbl regclass not null,
  key jsonb not null,
  side text not null check (side in ('old', 'new')),
  value jsonb not null,
  why text not null check (why in ('unmapped', 'residue', 'conflict')),
  role name not null default session_user,
  xid xid8 not null default pg_current_xact_id(),
  at timestamptz not null default clock_timestamp()
);
create index if not exists kept_change on gapless.kept (change, why, key);
comment on table gapless.kept is 'Values that keeping both forms in step would have lost, and rows that have no new form.';
comment on column gapless.kept.why is 'unmapped: forward raised for this old form. residue: this value was overwritten and the other form could not give it back. conflict: the writer gave both forms, the new one won, and this is its old one.';

create table if not exists gapless.old_form_write (
  n bigint generated always as identity primary key,
  change text not null,
  op text not null,
  role name not null,
  application text not null,
  address inet,
  at timestamptz not null default clock_timestamp()
);
create index if not exists old_form_write_seen on gapless.old_form_write (change, role, application, at);
comment on table gapless.old_form_write is 'Who still writes the old form. Noted at most once in an interval for each role and application, so the last write may be up to one interval later.';

create table if not exists gapless.statement_seen (
  change text not null,
  userid oid not null,
  queryid bigint not null,
  calls bigint not null,
  used_at timestamptz not null,
  seen_at timestamptz not null,
  primary key (change, userid, queryid)
);
comment on table gapless.statement_seen is 'Statements of pg_stat_statements that name an old column: how often they had run when last looked, and when that last grew. The row with queryid 0 is the look itself.';

create table if not exists gapless.table_seen (
  change text primary key,
  uses bigint not null,
  used_at timestamptz not null
);
comment on table gapless.table_seen is 'How often a table that contract drops had been read and written when last looked, and when that last grew.';

create table if not exists gapless.archive (
  n bigint generated always as identity primary key,
  change text not null,
  kind text not null check (kind in ('contract', 'revert', 'table')),
  archive_table text not null,
  rows bigint,
  checksum text,
  partitions oid[] not null default '{}',
  begun_at timestamptz not null default clock_timestamp(),
  done_at timestamptz,
  expires_at timestamptz,
  restored_at timestamptz
);
create unique index if not exists archive_open on gapless.archive (change, kind) where done_at is null;
comment on table gapless.archive is 'Where what a change dropped was copied to, or moved to where it is a whole table.';
comment on column gapless.archive.kind is 'contract: the old columns. revert: the new ones, on the way back of expand. table: the table itself.';
comment on column gapless.archive.partitions is 'The partitions whose rows are in it, or captured: the rows of one that is attached later are copied as a whole.';
comment on column gapless.archive.done_at is 'When it was counted and summed up; nothing writes it since.';
comment on column gapless.archive.expires_at is 'When it may be removed; null for never.';
comment on column gapless.archive.restored_at is 'When the change was brought back out of it.';

create table if not exists gapless.archived_kept (
  n bigint primary key,
  archive bigint not null references gapless.archive on delete cascade,
  tbl regclass,
  key jsonb not null,
  side text not null,
  value jsonb not null,
  why text not null,
  role name not null,
  xid xid8 not null,
  at timestamptz not null
);
create index if not exists archived_kept_archive on gapless.archived_kept (archive);
comment on table gapless.archived_kept is 'What gapless.kept held for a change whose expand was taken back.';

create table if not exists gapless.archived_definition (
  change text not null,
  kind text not null,
  name text not null,
  definition text not null,
  of_column boolean not null default false,
  at timestamptz not null default clock_timestamp(),
  primary key (change, kind, name)
);
comment on column gapless.archived_definition.of_column is 'It is a dropped column, or went with one.';
comment on table gapless.archived_definition is 'What would create again each object that went with a dropped column.';

create or replace function gapless.note_old_form_write(of_change text, of_op text, every interval) returns void
  language plpgsql security definer set search_path = pg_catalog, pg_temp as $gapless$
declare
  by_role name := coalesce(nullif(current_setting('role', true), 'none'), session_user);
  by_application text := coalesce(current_setting('application_name', true), '');
begin
  -- Two who note at once may both write a row. Neither waits for the other, as
  -- they would if they shared one.
  if not exists (select from gapless.old_form_write w
                 where w.change = of_change and w.role = by_role and w.application = by_application
                   and w.at > clock_timestamp() - every) then
    insert into gapless.old_form_write (change, op, role, application, address)
    values (of_change, of_op, by_role, by_application, inet_client_addr());
  end if;
end $gapless$;
revoke all on function gapless.note_old_form_write(text, text, interval) from public;
comment on function gapless.note_old_form_write(text, text, interval) is 'Called by the triggers of a change; bounded by the interval.';
