package stranger

import _ "github.com/shortlist-serving/shortlist/go/internal/rank"
