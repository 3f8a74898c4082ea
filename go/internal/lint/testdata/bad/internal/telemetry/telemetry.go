package telemetry

import _ "github.com/shortlist-serving/shortlist/go/internal/rpc"
