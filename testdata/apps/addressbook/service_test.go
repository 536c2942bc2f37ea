package addressbook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/pgtest"
	"github.com/gapless-deploy/gapless/testdata/apps/addressbook"
)

const newColumns = "alter table address add column street_name text, add column house_number text"

// running is one instance of the service.
type running struct {
	url   string
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, database string, form addressbook.Form, faults addressbook.Faults) *running {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &running{url: "http://" + listener.Addr().String(), stop: stop, ended: make(chan error, 1)}
	log := slog.New(slog.DiscardHandler)
	go func() { r.ended <- addressbook.Serve(ctx, listener, database, form, faults, log) }()
	return r
}

func (r *running) end(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Errorf("the service ended by %v", err)
	}
}

// ask sends body and returns the status; the answer goes into.
func (r *running) ask(t *testing.T, method, path string, body, into any) int {
	t.Helper()
	response, err := r.send(t.Context(), method, path, body)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer func() {
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
	}()
	if response.Header.Get("Address-Form") == "" {
		t.Error("the answer does not tell its form")
	}
	if into != nil {
		if err := json.NewDecoder(response.Body).Decode(into); err != nil {
			t.Error(err)
		}
	}
	return response.StatusCode
}

func (r *running) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, r.url+path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}

func prepare(t *testing.T, statements ...string) (url string, conn *pgx.Conn) {
	t.Helper()
	url = pgtest.New(t)
	conn = connect(t, url)
	for _, sql := range append([]string{addressbook.Schema}, statements...) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return url, conn
}

func text(s string) *string { return &s }

func TestBothRevisionsSpeakTheSame(t *testing.T) {
	for name, tc := range map[string]struct {
		form   addressbook.Form
		schema string
		stored string
	}{
		"street": {addressbook.Street(), "select 1", "select concat_ws('|', street) from address where id = $1"},
		"split":  {addressbook.Split(), newColumns, "select concat_ws('|', street_name, house_number) from address where id = $1"},
	} {
		t.Run(name, func(t *testing.T) {
			database, conn := prepare(t, tc.schema)
			r := start(t, database, tc.form, addressbook.Faults{})
			defer r.end(t)
			want := addressbook.Address{Name: "Ada", Phone: text("1"), Line: text("Elm Street 5 b")}
			var got addressbook.Address
			if status := r.ask(t, http.MethodPost, "/addresses", want, &got); status != http.StatusCreated || got.ID == 0 {
				t.Fatalf("post: status %d, %+v", status, got)
			}
			want.ID = got.ID
			path := "/addresses/" + strconv.FormatInt(want.ID, 10)
			want.Line = text("Main Street 12")
			if status := r.ask(t, http.MethodPut, path, want, nil); status != http.StatusOK {
				t.Errorf("put: status %d", status)
			}
			want.Phone = text("2")
			if status := r.ask(t, http.MethodPatch, path, map[string]string{"phone": "2"}, nil); status != http.StatusNoContent {
				t.Errorf("patch: status %d", status)
			}
			got = addressbook.Address{}
			if status := r.ask(t, http.MethodGet, path, nil, &got); status != http.StatusOK {
				t.Errorf("get: status %d", status)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("read back (-want +got):\n%s", diff)
			}
			var stored string
			if err := conn.QueryRow(t.Context(), tc.stored, want.ID).Scan(&stored); err != nil {
				t.Fatal(err)
			}
			if joined := map[string]string{"street": "Main Street 12", "split": "Main Street|12"}[name]; stored != joined {
				t.Errorf("stored %q, want %q", stored, joined)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	database, _ := prepare(t)
	r := start(t, database, addressbook.Street(), addressbook.Faults{})
	defer r.end(t)
	for _, tc := range []struct {
		method, path string
		body         any
		status       int
	}{
		{http.MethodGet, "/addresses/7", nil, http.StatusNotFound},
		{http.MethodPut, "/addresses/7", addressbook.Address{}, http.StatusNotFound},
		{http.MethodPatch, "/addresses/7", map[string]string{"phone": "1"}, http.StatusNotFound},
		{http.MethodGet, "/addresses/seven", nil, http.StatusBadRequest},
		{http.MethodPost, "/addresses", map[string]string{"street": "Elm"}, http.StatusBadRequest},
		{http.MethodPost, "/addresses", "Elm", http.StatusBadRequest},
		{http.MethodDelete, "/addresses/7", nil, http.StatusMethodNotAllowed},
	} {
		if status := r.ask(t, tc.method, tc.path, tc.body, nil); status != tc.status {
			t.Errorf("%s %s: status %d, want %d", tc.method, tc.path, status, tc.status)
		}
	}
}

func TestReadyOnlyWithItsColumns(t *testing.T) {
	database, conn := prepare(t)
	r := start(t, database, addressbook.Split(), addressbook.Faults{})
	defer r.end(t)
	if status := r.ask(t, http.MethodGet, "/healthz", nil, nil); status != http.StatusServiceUnavailable {
		t.Errorf("without its columns: status %d, want 503", status)
	}
	if _, err := conn.Exec(t.Context(), newColumns); err != nil {
		t.Fatal(err)
	}
	if status := r.ask(t, http.MethodGet, "/healthz", nil, nil); status != http.StatusOK {
		t.Errorf("with its columns: status %d, want 200", status)
	}
}

// A request waits for a row that is locked when the service is told to stop:
// it is finished, and others are still answered meanwhile.
func TestStopsOnlyWhenNothingIsInFlight(t *testing.T) {
	database, conn := prepare(t, "insert into address (name) values ('Ada')")
	r := start(t, database, addressbook.Street(), addressbook.Faults{})
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "select from address where id = 1 for update"); err != nil {
		t.Fatal(err)
	}
	status := make(chan int)
	go func() { status <- r.ask(t, http.MethodPut, "/addresses/1", addressbook.Address{Name: "Bea"}, nil) }()
	const waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like 'update address%'"
	watch := connect(t, database)
	for n := 0; n == 0; {
		if err := watch.QueryRow(t.Context(), waiting).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if got := r.ask(t, http.MethodGet, "/addresses/1", nil, nil); got != http.StatusOK {
		t.Errorf("while one is in flight: status %d, want 200", got)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != http.StatusOK {
		t.Errorf("what was in flight: status %d, want 200", got)
	}
	if err := <-r.ended; err != nil {
		t.Errorf("the service ended by %v", err)
	}
}

func TestBadErrors(t *testing.T) {
	database, conn := prepare(t, newColumns)
	r := start(t, database, addressbook.Split(), addressbook.Faults{Errors: 1})
	defer r.end(t)
	if status := r.ask(t, http.MethodPost, "/addresses", addressbook.Address{Name: "Ada"}, nil); status != http.StatusInternalServerError {
		t.Errorf("post: status %d, want 500", status)
	}
	if status := r.ask(t, http.MethodGet, "/healthz", nil, nil); status != http.StatusOK {
		t.Errorf("health: status %d, want 200: only traffic shows the fault", status)
	}
	var rows int
	if err := conn.QueryRow(t.Context(), "select count(*) from address").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows were written by a failed request, %v", rows, err)
	}
}

func TestFaultsFromEnv(t *testing.T) {
	env := map[string]string{"BAD_ERRORS": "0.05", "BAD_SLOW": "300ms", "BAD_MEMORY": "200", "BAD_CRASH_AFTER": "20s"}
	got, err := addressbook.FaultsFromEnv(func(name string) string { return env[name] })
	want := addressbook.Faults{Errors: 0.05, Slow: 300e6, Memory: 200, CrashAfter: 20e9}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for name, value := range map[string]string{"BAD_ERRORS": "5%", "BAD_SLOW": "300", "BAD_MEMORY": "x", "BAD_CRASH_AFTER": "soon"} {
		if _, err := addressbook.FaultsFromEnv(func(n string) string { return map[string]string{name: value}[n] }); err == nil {
			t.Errorf("%s=%s was accepted", name, value)
		}
	}
	if _, err := addressbook.FaultsFromEnv(func(n string) string { return map[string]string{"BAD_ERRORS": "1.5"}[n] }); err == nil {
		t.Error("BAD_ERRORS=1.5 was accepted")
	}
}
