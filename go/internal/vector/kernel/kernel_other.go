//go:build !amd64

package kernel

func detect() level { return plain }

// No assembly for this CPU: detect never gives the levels that call these.

func dots8VNNI(*int32, *byte, *int8, int32, int)      {}
func dots8WideVNNI(*int32, *byte, *int8, *int32, int) {}
func dots8AVX2(*int32, *byte, *int8, int32, int)      {}
func maskAVX512(*uint64, *int32, *float32, *float32)  {}
func maskAVX2(*uint64, *int32, *float32, *float32)    {}
func dotsFloat32AVX2(_, _, _ *float32, _, _ int)      {}
func gatherAVX2(_, _ *float32, _ *int64, _, _ int)    {}
func dots4VNNI(*int32, *byte, *int8, int32, int)      {}
func dots4WideVNNI(*int32, *byte, *int8, *int32, int) {}
func finiteAVX2(*float32, int) bool                   { return true }
