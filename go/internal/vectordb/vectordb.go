// Package vectordb searches the retrieval vectors of a release in Qdrant, a vector engine outside this process. A collection holds
// one release, and a point's number is the row of its item. It is the one package below internal/rpc that calls over the network.
package vectordb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/qdrant/go-client/qdrant"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shortlist-serving/shortlist/go/internal/rank"
)

// Options of the engine.
type Options struct {
	// Address of the engine's gRPC port, host:port. The default is none.
	Address string
	// APIKey is sent with every call, where it is set; use it with TLS.
	APIKey string `config:"secret"`
	// TLS encrypts the connection. The default is false.
	TLS bool
	// Timeout bounds a search, within the deadline of its request. The default is 200ms.
	Timeout time.Duration
}

// EnsureDefaults fills what is not set.
func (o *Options) EnsureDefaults() {
	if o.Timeout == 0 {
		o.Timeout = 200 * time.Millisecond
	}
}

// Validate lists every fault as "field: problem".
func (o *Options) Validate() []error {
	var faults []error
	if o.Address != "" {
		if _, _, err := o.hostPort(); err != nil {
			faults = append(faults, fmt.Errorf("address: %q is not host:port", o.Address))
		}
	}
	if o.Timeout < 0 {
		faults = append(faults, fmt.Errorf("timeout: %s is negative", o.Timeout))
	}
	return faults
}

func (o *Options) hostPort() (host string, port int, err error) {
	host, text, err := net.SplitHostPort(o.Address)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}

// Error says that the engine did not do what it was asked for. It may name the collection, never an address.
type Error struct {
	Doing string
	Fix   string // "" where there is no advice
	Cause error
}

func (e *Error) Error() string {
	text := fmt.Sprintf("the vector engine failed to %s: %v", e.Doing, e.Cause)
	if e.Fix != "" {
		text += "; " + e.Fix
	}
	return text
}

func (e *Error) Unwrap() error { return e.Cause }

// failed turns an error of the client into an *Error; a deadline that passed there is one of this side too.
func failed(doing, collection string, err error) error {
	switch status.Code(errors.Unwrap(err)) {
	case codes.DeadlineExceeded:
		return &Error{Doing: doing, Cause: context.DeadlineExceeded}
	case codes.Canceled:
		return &Error{Doing: doing, Cause: context.Canceled}
	case codes.NotFound:
		return &Error{Doing: doing, Cause: err, Fix: "there is no collection " + collection + ": run `shortlistd upload` for the release"}
	}
	return &Error{Doing: doing, Cause: err}
}

// Engine is a connection to the engine. It is safe for concurrent use.
type Engine struct {
	client  *qdrant.Client
	timeout time.Duration
}

// Open prepares a connection, which is made when it is used first. Close ends it.
func Open(o Options) (*Engine, error) {
	o.EnsureDefaults()
	host, port, err := o.hostPort()
	if err != nil {
		return nil, fmt.Errorf("the address of the vector engine is %q, which is not host:port; set retrieval.qdrant.address", o.Address)
	}
	// Versions are not compared, because that would call before anything is asked for.
	client, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: port, APIKey: o.APIKey, UseTLS: o.TLS, SkipCompatibilityCheck: true})
	if err != nil {
		return nil, fmt.Errorf("open the vector engine: %w", err)
	}
	return &Engine{client: client, timeout: o.Timeout}, nil
}

// Close ends the connection.
func (e *Engine) Close() error { return e.client.Close() }

// Collection is the name of a release's collection.
func Collection(releaseID string) string { return "shortlist_" + releaseID }

// Query asks for the rows nearest to a vector.
type Query struct {
	Vector  []float32 // [K]
	Limit   int
	Seen    []int64             // rows to leave out
	Columns []rank.ColumnFilter // that a row must pass
	Time    int64               // unix seconds at which a row must be available; 0: any
}

// Search gives rows of a release, best first, as the engine sees it. The caller decides whether they may be used: a collection may
// be older than the filters, and holds no more than was uploaded. Fails with an *Error.
func (e *Engine) Search(ctx context.Context, releaseID string, q Query) ([]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	limit := uint64(q.Limit)
	points, err := e.client.Query(ctx, &qdrant.QueryPoints{
		CollectionName: Collection(releaseID), Query: qdrant.NewQueryDense(q.Vector), Filter: filterOf(q), Limit: &limit,
	})
	if err != nil {
		return nil, failed("search", Collection(releaseID), err)
	}
	rows := make([]int64, len(points))
	for i, point := range points {
		rows[i] = int64(point.GetId().GetNum())
	}
	return rows, nil
}
