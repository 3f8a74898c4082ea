package ort

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"
)

// openShim ties the shim to the library that the binding has loaded; the caller holds process.
func openShim(library string) error {
	path := C.CString(library)
	defer C.free(unsafe.Pointer(path))
	if problem := C.shim_open(path); problem != nil {
		return fmt.Errorf("open %q: %s", library, C.GoString(problem))
	}
	return nil
}

func closeShim() { C.shim_close() }

// statusError takes over a status; nil is success.
func statusError(status *C.OrtStatus) error {
	if status == nil {
		return nil
	}
	defer C.shim_release_status(status)
	return errors.New(C.GoString(C.shim_message(status)))
}

// sessionPointer is the C session of a session of the binding, which runs it with a dozen allocations a run
// and has no accessor for it. The binding's version is pinned; another layout is an error at load.
func sessionPointer(s *ort.DynamicAdvancedSession) (*C.OrtSession, error) {
	inner := reflect.ValueOf(s).Elem().FieldByName("s")
	if inner.Kind() == reflect.Pointer && !inner.IsNil() {
		if field := inner.Elem().FieldByName("ortSession"); field.Kind() == reflect.Pointer && !field.IsNil() {
			return (*C.OrtSession)(field.UnsafePointer()), nil
		}
	}
	return nil, errors.New("onnxruntime_go keeps its session elsewhere in this version; use the version of go.mod")
}

// cNames are names in C memory, made once per session.
type cNames []*C.char

func newNames(names []string) cNames {
	list := unsafe.Slice((**C.char)(C.calloc(C.size_t(len(names)), C.size_t(unsafe.Sizeof((*C.char)(nil))))), len(names))
	for i, name := range names {
		list[i] = C.CString(name)
	}
	return list
}

func (n cNames) first() **C.char { return unsafe.SliceData(n) }

func (n cNames) free() {
	for _, name := range n {
		C.free(unsafe.Pointer(name))
	}
	C.free(unsafe.Pointer(n.first()))
}

// optionList keeps run options for reuse, each as good as new. They are C memory, so a sync.Pool, which
// drops what it holds, would leak them.
type optionList struct {
	free chan *C.OrtRunOptions
}

func newOptionList() *optionList { return &optionList{free: make(chan *C.OrtRunOptions, 64)} }

func (l *optionList) take() (*C.OrtRunOptions, error) {
	select {
	case options := <-l.free:
		return options, nil
	default:
		var options *C.OrtRunOptions
		err := statusError(C.shim_new_options(&options))
		return options, err
	}
}

func (l *optionList) put(options *C.OrtRunOptions) {
	select {
	case l.free <- options:
	default:
		C.shim_release_options(options)
	}
}

// drain frees what is kept; nothing may be running.
func (l *optionList) drain() {
	for len(l.free) > 0 {
		C.shim_release_options(<-l.free)
	}
}
