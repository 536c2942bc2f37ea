package addressbook

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
)

// maxBody bounds what one request may bring.
const maxBody = 64 << 10

// service answers the book's requests.
type service struct {
	book   book
	faults Faults
	log    *slog.Logger
}

func (s service) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /addresses/{id}", s.get)
	mux.HandleFunc("POST /addresses", s.post)
	mux.HandleFunc("PUT /addresses/{id}", s.put)
	mux.HandleFunc("PATCH /addresses/{id}", s.patch)
	h := s.faults.spoil(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Address-Form", s.book.form.Name)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		h.ServeHTTP(w, r)
	})
}

func (s service) health(w http.ResponseWriter, r *http.Request) {
	if err := s.book.ready(r.Context()); err != nil {
		s.log.Warn("not ready", "error", err)
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s.answer(w, http.StatusOK, map[string]string{"form": s.book.form.Name})
}

func (s service) get(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	if !ok {
		return
	}
	a, err := s.book.get(r.Context(), id)
	s.answerAddress(w, http.StatusOK, a, err)
}

func (s service) post(w http.ResponseWriter, r *http.Request) {
	var a Address
	if !s.read(w, r, &a) {
		return
	}
	a, err := s.book.add(r.Context(), a)
	s.answerAddress(w, http.StatusCreated, a, err)
}

func (s service) put(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	var a Address
	if !ok || !s.read(w, r, &a) {
		return
	}
	a.ID = id
	s.answerAddress(w, http.StatusOK, a, s.book.put(r.Context(), a))
}

// patch changes the phone number alone: a write that leaves the line untouched.
func (s service) patch(w http.ResponseWriter, r *http.Request) {
	id, ok := s.id(w, r)
	var part struct {
		Phone *string `json:"phone"`
	}
	if !ok || !s.read(w, r, &part) {
		return
	}
	if err := s.book.setPhone(r.Context(), id, part.Phone); err != nil {
		s.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s service) id(w http.ResponseWriter, r *http.Request) (int64, bool) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		http.Error(w, "an address is named by its number", http.StatusBadRequest)
		return 0, false
	}
	return id, true
}

func (s service) read(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		http.Error(w, "read the address: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (s service) answerAddress(w http.ResponseWriter, status int, a Address, err error) {
	if err != nil {
		s.fail(w, err)
		return
	}
	s.answer(w, status, a)
}

func (s service) fail(w http.ResponseWriter, err error) {
	if errors.Is(err, errNotFound) {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	s.log.Error("request failed", "error", err)
	http.Error(w, err.Error(), http.StatusInternalServerError)
}

func (s service) answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Warn("answer was cut", "error", err)
	}
}
