package addressbook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

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

// The zero value is good, and faults leave the first requests alone.
func TestFaultsSetInLate(t *testing.T) {
	database, _ := prepare(t, newColumns, "insert into address (name) values ('Ada')")
	r := start(t, database, addressbook.Split(), addressbook.Faults{After: 5, Errors: 1})
	defer r.end(t)
	for n := 1; n <= 8; n++ {
		want := http.StatusOK
		if n > 5 {
			want = http.StatusInternalServerError
		}
		if status := r.ask(t, http.MethodGet, "/addresses/1", nil, nil); status != want {
			t.Errorf("request %d: status %d, want %d", n, status, want)
		}
	}
}

func TestBadSlow(t *testing.T) {
	database, _ := prepare(t, newColumns, "insert into address (name) values ('Ada')")
	const by = 120 * time.Millisecond
	r := start(t, database, addressbook.Split(), addressbook.Faults{Slow: 0.5, SlowBy: by})
	defer r.end(t)
	const asked = 40
	slow := 0
	for range asked {
		began := time.Now()
		if status := r.ask(t, http.MethodGet, "/addresses/1", nil, nil); status != http.StatusOK {
			t.Errorf("status %d, want 200: slow is no error", status)
		}
		if time.Since(began) >= by {
			slow++
		}
	}
	if slow < asked/8 || slow > asked*7/8 {
		t.Errorf("%d of %d were slow, about half should be", slow, asked)
	}
}

// Whoever asks for health waits until they give up; everything else is answered.
func TestUnhealthyNeverAnswersItsHealthPath(t *testing.T) {
	database, _ := prepare(t, newColumns, "insert into address (name) values ('Ada')")
	r := start(t, database, addressbook.Split(), addressbook.Faults{Unhealthy: true})
	defer r.end(t)
	impatient := http.Client{Timeout: 200 * time.Millisecond}
	if response, err := impatient.Get(r.url + "/healthz"); err == nil {
		t.Errorf("health was answered: status %d", response.StatusCode)
		closeBody(t, response)
	}
	if status := r.ask(t, http.MethodGet, "/addresses/1", nil, nil); status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
}

func closeBody(t *testing.T, response *http.Response) {
	t.Helper()
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
}

// asService is set in the environment of this test's own program where it is
// to be the service.
const asService = "ADDRESSBOOK_TEST_SERVES"

func TestMain(m *testing.M) {
	if os.Getenv(asService) == "" {
		os.Exit(m.Run())
	}
	faults, err := addressbook.FaultsFromEnv(os.Getenv)
	if err == nil {
		err = addressbook.Run(addressbook.Street(), faults)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// The process is gone in the middle of a request, which gets no answer.
func TestCrash(t *testing.T) {
	database, _ := prepare(t, "insert into address (name) values ('Ada')")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err := errors.Join(err, listener.Close()); err != nil {
		t.Fatal(err)
	}
	const after = 10
	process := exec.CommandContext(t.Context(), os.Args[0])
	process.Env = append(os.Environ(), asService+"=1", "DATABASE_URL="+database, "PORT="+port, fmt.Sprint("BAD_CRASH_AFTER=", after))
	process.Stderr = t.Output()
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{url: "http://127.0.0.1:" + port}
	answered := 0
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		response, err := r.send(t.Context(), http.MethodGet, "/addresses/1", nil)
		if err == nil {
			answered++
			closeBody(t, response)
		} else if answered > 0 {
			break
		}
	}
	if answered < after || answered > 2*after {
		t.Errorf("%d requests were answered before the crash, want %d to %d", answered, after, 2*after)
	}
	if err := process.Wait(); err == nil || process.ProcessState.String() != "signal: killed" {
		t.Errorf("the process ended by %v, want SIGKILL", err)
	}
}

func TestFaultsFromEnv(t *testing.T) {
	env := map[string]string{"BAD_AFTER": "60", "BAD_ERRORS": "0.05", "BAD_SLOW": "0.1", "BAD_SLOW_BY": "300ms",
		"BAD_MEMORY": "200", "BAD_CRASH_AFTER": "600", "BAD_HEALTH": "true"}
	got, err := addressbook.FaultsFromEnv(func(name string) string { return env[name] })
	want := addressbook.Faults{After: 60, Errors: 0.05, Slow: 0.1, SlowBy: 300e6, Memory: 200, CrashAfter: 600, Unhealthy: true}
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range [][2]string{{"BAD_AFTER", "-1"}, {"BAD_ERRORS", "5%"}, {"BAD_ERRORS", "1.5"}, {"BAD_SLOW", "300ms"}, {"BAD_SLOW", "-0.1"},
		{"BAD_SLOW_BY", "300"}, {"BAD_MEMORY", "x"}, {"BAD_MEMORY", "-1"}, {"BAD_CRASH_AFTER", "20s"}, {"BAD_HEALTH", "ill"}} {
		if _, err := addressbook.FaultsFromEnv(func(n string) string { return map[string]string{bad[0]: bad[1]}[n] }); err == nil {
			t.Errorf("%s=%s was accepted", bad[0], bad[1])
		}
	}
}
