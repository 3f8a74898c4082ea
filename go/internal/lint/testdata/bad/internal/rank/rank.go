package rank

import _ "github.com/shortlist-serving/shortlist/go/internal/bundle"

func F() { panic("no") }
