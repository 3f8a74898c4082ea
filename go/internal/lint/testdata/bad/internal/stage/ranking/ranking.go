package ranking

// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"

	_ "github.com/shortlist-serving/shortlist/go/internal/runtime"
	_ "github.com/shortlist-serving/shortlist/go/internal/runtime/fake"
	_ "github.com/shortlist-serving/shortlist/go/internal/stage"
	_ "github.com/shortlist-serving/shortlist/go/internal/stage/retrieval"
	_ "github.com/yalue/onnxruntime_go"
)

func F() {
	fmt.Println("no")
	os.Exit(1)
}
