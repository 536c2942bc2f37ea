package database_test

// special are kinds of table that need something of their own.
func special() []kind {
	const one = `
expand: [{add_column: {name: tidy, type: text}}]
sync:
  forward: {tidy: trim(body)}
  backward: {body: tidy}
contract: [{drop_column: body}]
verify: {lossy_max: 1000}
`
	return []kind{{
		name: "partitioned, at two levels, with a partition that comes later",
		setup: `create table slip (region text, id int, body text, phone text, primary key (region, id)) partition by list (region);
			create table slip_north partition of slip for values in ('n') partition by range (id);
			create table slip_north_1 partition of slip_north for values from (0) to (1000);
			create table slip_south (id int not null, phone text, extra int, region text not null, body text); alter table slip_south drop column extra;
			alter table slip attach partition slip_south for values in ('s');
			create index on slip (body); create index only_south on slip_south (lower(body));
			insert into slip select (array['n', 's'])[1 + i % 2], i, ' b ' || i, 'p' from generate_series(1, 400) i`,
		table: "slip", change: one,
		old: `create table slip_west partition of slip for values in ('w'); set session_replication_role = replica;
			insert into slip_west (region, id, body) values ('w', 1, ' late '); update slip_north_1 set body = ' changed ' where id = 2; reset session_replication_role`,
		new:   `update slip_south set tidy = 'new' where id = 1; update slip set region = 'w', phone = 'moved' where region = 's' and id = 3; insert into slip (region, id, tidy) values ('n', 500, 'in')`,
		shown: `select string_agg(concat_ws('/', tableoid::regclass, id, body, tidy), ' ' order by region, id) from slip where (region, id) in (('w', 1), ('n', 2), ('s', 1), ('w', 3), ('n', 500))`,
		want:  `slip_north_1/2/ changed /changed slip_north_1/500/in/in slip_south/1/new/new slip_west/1/ late /late slip_west/3/ b 3/b 3`,
	}, {
		name: "own triggers that change columns, a generated column, an identity column",
		setup: `create table slip (id int generated always as identity primary key, body text, loud text generated always as (upper(body)) stored, seen int default 0);
			create function tidy_up() returns trigger language plpgsql as $$ begin new.body := replace(new.body, '_', ' '); return new; end $$;
			create trigger tidy_up before insert or update of body on slip for each row execute function tidy_up();
			create function count_up() returns trigger language plpgsql as $$ begin new.seen := new.seen + 1; return new; end $$;
			create trigger count_up before update on slip for each row execute function count_up();
			insert into slip (body) select ' b_' || i from generate_series(1, 300) i`,
		table: "slip", change: one + "accept: {triggers: counting what gapless fills does no harm}\n",
		old: `update slip set body = '_x_' where id = 1`, new: `update slip set tidy = 'y_y' where id = 2; update slip set seen = 5 where id = 3`,
		shown:   `select string_agg(concat_ws('/', body, to_jsonb(slip)->>'loud', tidy, seen), ' ' order by id) from slip where id in (1, 2, 3)`,
		want:    ` x / X /x/2 y_y/Y_Y/y_y/2  b 3/ B 3/b 3/6`,
		blocked: "generated column", free: `alter table slip drop column loud; drop trigger tidy_up on slip; drop function tidy_up()`,
	}, {
		name: "policies that an application's role is subject to",
		setup: `create table slip (id int primary key, owner name default current_user, body text); insert into slip values (1, 'ann', ' a '), (2, 'bob', ' b ');
			alter table slip enable row level security; create policy own on slip using (owner = current_user) with check (owner = current_user);
			do $$ begin if not exists (select from pg_roles where rolname = 'ann') then create role ann; end if; end $$; grant select, insert, update on slip to ann`,
		table: "slip", change: one,
		old:   `set role ann; update slip set body = ' aa '; insert into slip (id, body) values (3, ' c '); reset role`,
		new:   `set role ann; update slip set tidy = 'new' where id in (2, 3); reset role; revoke all on slip from ann`,
		shown: `select string_agg(concat_ws('/', id, body, tidy), ' ' order by id) from slip`,
		want:  `1/ aa /aa 2/ b /b 3/new/new`,
	}, {
		name:  "unlogged, written by COPY and by statements that do either",
		setup: `create unlogged table slip (id int primary key, body text); insert into slip select i, 'x' || i from generate_series(1, 50) i`,
		table: "slip", change: one,
		old:   `copy slip (id, body) from program 'printf "101\t copied \n"'; insert into slip values (1, ' either ') on conflict (id) do update set body = excluded.body`,
		new:   `insert into slip (id, tidy) values (2, 'or') on conflict (id) do update set tidy = excluded.tidy; delete from slip where id = 3; update slip set id = 400 where id = 4`,
		shown: `select string_agg(concat_ws('/', id, body, tidy), ' ' order by id) from slip where id in (1, 2, 3, 101, 400)`,
		want:  `1/ either /either 2/or/or 101/ copied /copied 400/x4/x4`,
	}}
}
