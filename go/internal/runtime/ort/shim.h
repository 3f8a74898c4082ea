// The few functions of ONNX Runtime's C interface that a run needs, and one function that does a whole run
// in one crossing from Go. Loading graphs, options and devices are left to the binding.
#ifndef SHORTLIST_SHIM_H
#define SHORTLIST_SHIM_H

#include <stddef.h>
#include <stdint.h>

typedef struct OrtSession OrtSession;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtStatus OrtStatus;
typedef struct OrtValue OrtValue;

enum { SHIM_MAX_RANK = 8 };

// One tensor of a run, dense and row-major.
typedef struct {
  void *data;  // the caller's memory; NULL for an output that ONNX Runtime is to allocate
  size_t bytes;
  int64_t shape[SHIM_MAX_RANK];
  int32_t rank;
  int32_t type;     // ONNXTensorElementDataType
  OrtValue *value;  // after a run: owner of an allocated output, to be released; else NULL
} shim_tensor;

// What stands for the data of a tensor without elements, where NULL would mean "allocate".
extern char shim_empty;

// Opens the library for this process; NULL, or why it cannot be used. The text lives until the next call.
const char *shim_open(const char *library);
void shim_close(void);

// Runs a session. tensors are n_in inputs, then n_out outputs. NULL, or a status to be released.
OrtStatus *shim_run(OrtSession *session, const OrtRunOptions *options, const char *const *in_names, size_t n_in,
                    const char *const *out_names, size_t n_out, shim_tensor *tensors);
void shim_release_value(OrtValue *value);

OrtStatus *shim_new_options(OrtRunOptions **options);
OrtStatus *shim_terminate(OrtRunOptions *options, int on);
void shim_release_options(OrtRunOptions *options);

const char *shim_message(const OrtStatus *status);
void shim_release_status(OrtStatus *status);

#endif
