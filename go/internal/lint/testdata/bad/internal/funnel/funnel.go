package funnel

import _ "github.com/shortlist-serving/shortlist/go/internal/config"
