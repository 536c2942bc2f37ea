package githubtest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// paged answers with the page that the request asks for, as in "Using
// pagination in the REST API": 30 of a page, 100 at most, and a Link header.
// wrap makes the body of the page and the number of all.
func paged[T any](c *call, all []T, wrap func(page []T, total int) any) answer {
	const usual, most = 30, 100
	size := min(number(c, "per_page", usual), most)
	page := number(c, "page", 1)
	if size < 1 || page < 1 {
		return failed(http.StatusUnprocessableEntity, "Validation Failed")
	}
	last := max(1, (len(all)+size-1)/size)
	from := min((page-1)*size, len(all))
	to := min(from+size, len(all))
	given := ok(wrap(all[from:to:to], len(all)))
	var links []string
	link := func(rel string, page int) {
		target := *c.request.URL
		query := target.Query()
		query.Set("page", strconv.Itoa(page))
		target.RawQuery = query.Encode()
		links = append(links, fmt.Sprintf("<%s%s>; rel=%q", c.URL(), target.RequestURI(), rel))
	}
	if page > 1 {
		link("prev", min(page-1, last))
	}
	if page < last {
		link("next", page+1)
		link("last", last)
	}
	if page > 1 {
		link("first", 1)
	}
	if len(links) > 0 {
		given.header = map[string]string{"Link": strings.Join(links, ", ")}
	}
	return given
}

// number returns a number of the query, which was checked to be one.
func number(c *call, name string, usual int) int {
	value, err := strconv.Atoi(c.request.URL.Query().Get(name))
	if err != nil {
		return usual
	}
	return value
}

// list is a page of a list as such; listOf one that is a property.
func list[T any](view func(T) object) func([]T, int) any {
	return func(page []T, _ int) any { return views(page, view) }
}

func listOf[T any](name string, view func(T) object) func([]T, int) any {
	return func(page []T, total int) any { return object{"total_count": total, name: views(page, view)} }
}

func views[T any](of []T, view func(T) object) []object {
	all := make([]object, len(of))
	for i, one := range of {
		all[i] = view(one)
	}
	return all
}
