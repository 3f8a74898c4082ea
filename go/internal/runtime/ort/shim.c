#include "shim.h"

#include <dlfcn.h>

typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;
typedef OrtStatus *status_t;

// The head of OrtApi, ONNX Runtime's table of functions, MIT License. The table only ever grows at its end, so
// that these places are part of the binary interface of every version since the first.
typedef struct {
  void *before_message[2];
  const char *(*GetErrorMessage)(const OrtStatus *);
  void *before_run[6];
  status_t (*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t,
                  const char *const *, size_t, OrtValue **);
  void *before_options[29];
  status_t (*CreateRunOptions)(OrtRunOptions **);
  void *before_terminate[6];
  status_t (*RunOptionsSetTerminate)(OrtRunOptions *);
  status_t (*RunOptionsUnsetTerminate)(OrtRunOptions *);
  void *before_tensor[1];
  status_t (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int, OrtValue **);
  void *before_data[1];
  status_t (*GetTensorMutableData)(OrtValue *, void **);
  void *before_type[8];
  status_t (*GetTensorElementType)(const OrtTensorTypeAndShapeInfo *, int *);
  status_t (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo *, size_t *);
  status_t (*GetDimensions)(const OrtTensorTypeAndShapeInfo *, int64_t *, size_t);
  void *before_info[2];
  status_t (*GetTensorTypeAndShape)(const OrtValue *, OrtTensorTypeAndShapeInfo **);
  void *before_memory[3];
  status_t (*CreateCpuMemoryInfo)(int allocator, int memory, OrtMemoryInfo **);
  void *before_releases[23];
  void (*ReleaseStatus)(OrtStatus *);
  void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
  void *before_value[1];
  void (*ReleaseValue)(OrtValue *);
  void (*ReleaseRunOptions)(OrtRunOptions *);
  void *before_release_info[1];
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *);
} api_t;

_Static_assert(offsetof(api_t, GetErrorMessage) == 2 * sizeof(void *), "GetErrorMessage");
_Static_assert(offsetof(api_t, Run) == 9 * sizeof(void *), "Run");
_Static_assert(offsetof(api_t, CreateRunOptions) == 39 * sizeof(void *), "CreateRunOptions");
_Static_assert(offsetof(api_t, RunOptionsSetTerminate) == 46 * sizeof(void *), "RunOptionsSetTerminate");
_Static_assert(offsetof(api_t, CreateTensorWithDataAsOrtValue) == 49 * sizeof(void *), "CreateTensorWithDataAsOrtValue");
_Static_assert(offsetof(api_t, GetTensorMutableData) == 51 * sizeof(void *), "GetTensorMutableData");
_Static_assert(offsetof(api_t, GetTensorElementType) == 60 * sizeof(void *), "GetTensorElementType");
_Static_assert(offsetof(api_t, GetTensorTypeAndShape) == 65 * sizeof(void *), "GetTensorTypeAndShape");
_Static_assert(offsetof(api_t, CreateCpuMemoryInfo) == 69 * sizeof(void *), "CreateCpuMemoryInfo");
_Static_assert(offsetof(api_t, ReleaseStatus) == 93 * sizeof(void *), "ReleaseStatus");
_Static_assert(offsetof(api_t, ReleaseValue) == 96 * sizeof(void *), "ReleaseValue");
_Static_assert(offsetof(api_t, ReleaseTensorTypeAndShapeInfo) == 99 * sizeof(void *), "ReleaseTensorTypeAndShapeInfo");

typedef struct {
  const api_t *(*GetApi)(uint32_t version);
} base_t;

static const uint32_t api_version = 1;  // that of the newest function above
static const int arena_allocator = 1, default_memory = 0;

char shim_empty;
static void *library;
static const api_t *api;
static OrtMemoryInfo *memory;  // says that tensors lie in ordinary memory

const char *shim_open(const char *path) {
  library = dlopen(path, RTLD_LAZY);
  if (library == NULL) return dlerror();
  const base_t *(*base)(void) = (const base_t *(*)(void))dlsym(library, "OrtGetApiBase");
  api = base == NULL ? NULL : base()->GetApi(api_version);
  if (api == NULL) {
    shim_close();
    return "it is no ONNX Runtime";
  }
  status_t status = api->CreateCpuMemoryInfo(arena_allocator, default_memory, &memory);
  if (status != NULL) {
    api->ReleaseStatus(status);
    shim_close();
    return "it has no CPU memory";
  }
  return NULL;
}

void shim_close(void) {
  if (memory != NULL) api->ReleaseMemoryInfo(memory);
  if (library != NULL) dlclose(library);
  memory = NULL, library = NULL, api = NULL;
}

// Describes an output that ONNX Runtime allocated.
static status_t describe(shim_tensor *t) {
  OrtTensorTypeAndShapeInfo *info = NULL;
  status_t status = api->GetTensorTypeAndShape(t->value, &info);
  if (status != NULL) return status;
  size_t rank = 0;
  int type = 0;
  status = api->GetDimensionsCount(info, &rank);
  if (status == NULL) status = api->GetTensorElementType(info, &type);
  if (status == NULL && rank <= SHIM_MAX_RANK) status = api->GetDimensions(info, t->shape, rank);
  if (status == NULL) status = api->GetTensorMutableData(t->value, &t->data);
  api->ReleaseTensorTypeAndShapeInfo(info);
  t->rank = (int32_t)rank;
  t->type = type;
  return status;
}

OrtStatus *shim_run(OrtSession *session, const OrtRunOptions *options, const char *const *in_names, size_t n_in,
                    const char *const *out_names, size_t n_out, shim_tensor *tensors) {
  const size_t n = n_in + n_out;
  OrtValue *values[n];
  status_t status = NULL;
  for (size_t i = 0; i < n; i++) {
    shim_tensor *t = &tensors[i];
    values[i] = t->value = NULL;
    if (status == NULL && t->data != NULL) {
      status = api->CreateTensorWithDataAsOrtValue(memory, t->data, t->bytes, t->shape, (size_t)t->rank, t->type, &values[i]);
    }
  }
  if (status == NULL) {
    status = api->Run(session, options, in_names, (const OrtValue *const *)values, n_in, out_names, n_out, values + n_in);
  }
  for (size_t i = 0; i < n; i++) {
    shim_tensor *t = &tensors[i];
    if (status == NULL && i >= n_in && t->data == NULL) {
      t->value = values[i];
      status = describe(t);
    } else if (values[i] != NULL) {
      api->ReleaseValue(values[i]);
    }
  }
  return status;
}

void shim_release_value(OrtValue *value) { api->ReleaseValue(value); }

OrtStatus *shim_new_options(OrtRunOptions **options) { return api->CreateRunOptions(options); }

OrtStatus *shim_terminate(OrtRunOptions *options, int on) {
  return on ? api->RunOptionsSetTerminate(options) : api->RunOptionsUnsetTerminate(options);
}

void shim_release_options(OrtRunOptions *options) { api->ReleaseRunOptions(options); }

const char *shim_message(const OrtStatus *status) { return api->GetErrorMessage(status); }
void shim_release_status(OrtStatus *status) { api->ReleaseStatus(status); }
