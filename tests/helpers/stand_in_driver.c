// A stand-in for NVIDIA's driver, libcuda.so.1: one device, whose kernels run on the CPU when they are launched (cuda_on_cpu.h).
// It has the functions that cuda-core calls to load a program and to launch a kernel. Any of them can be made to fail.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { NOT_FOUND = 500, NAME = 64, MOST = 1024 };

struct Launch { char kernel[NAME]; int grid[3], block[3]; int shared_bytes; uint64_t stream; };
static struct Launch launches[MOST];
static int launch_count;
static void *programs[16];
static int program_count;
static struct { char function[NAME]; int result, times; } faults[16];
static int fault_count;
static int driver_version = 13000;
static char kernels[MOST][NAME];
static int kernel_count;
static __thread void *current;

// What the tests call.
void stand_in_program(void *library) { programs[program_count++] = library; }
void stand_in_driver_version(int version) { driver_version = version; }
void stand_in_fail(const char *function, int result, int times) {  // times < 0: from now on
  strncpy(faults[fault_count].function, function, NAME - 1);
  faults[fault_count].result = result;
  faults[fault_count++].times = times;
}
int stand_in_launches(struct Launch **first) { *first = launches; return launch_count; }

static int fault(const char *function) {
  for (int i = 0; i < fault_count; ++i)
    if (!strcmp(faults[i].function, function) && faults[i].times != 0) {
      if (faults[i].times > 0) --faults[i].times;
      return faults[i].result;
    }
  return 0;
}
#define FAIL do { const int result = fault(__func__); if (result) return result; } while (0)

int cuInit(unsigned flags) { FAIL; return 0; }
int cuDriverGetVersion(int *version) { FAIL; *version = driver_version; return 0; }
int cuGetExportTable(const void **table, const void *id) { *table = NULL; return NOT_FOUND; }  // NVRTC asks for one
int cuDeviceGetCount(int *count) { FAIL; *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { FAIL; *device = ordinal; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 1;  // compute capability 9.0
  return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { FAIL; *context = (void *)(intptr_t)(0x1000 + device); return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { *flags = 0; *active = 1; return 0; }
int cuCtxSetCurrent(void *context) { FAIL; current = context; return 0; }
int cuCtxGetCurrent(void **context) { *context = current; return 0; }
int cuCtxPushCurrent_v2(void *context) { current = context; return 0; }
int cuCtxPopCurrent_v2(void **context) { if (context) *context = current; return 0; }
int cuCtxGetDevice(int *device) {
  if (!current) return 201;  // no context: as a thread that has not used CUDA yet
  *device = (int)((intptr_t)current - 0x1000);
  return 0;
}
int cuLibraryLoadData(void **library, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f) {
  FAIL;
  if (memcmp(code, "\177ELF", 4)) return 200;  // no cubin
  *library = (void *)0x2000;
  return 0;
}
int cuLibraryUnload(void *library) { return 0; }
int cuLibraryGetKernel(void **kernel, void *library, const char *name) {
  FAIL;
  strncpy(kernels[kernel_count], name, NAME - 1);
  *kernel = kernels[kernel_count++];
  return 0;
}
int cuKernelGetLibrary(void **library, void *kernel) { *library = (void *)0x2000; return 0; }

typedef void (*Entry)(const int *grid, const int *block, void **arguments, int descending);
static int launch(const char *kernel, const unsigned *sizes, void *stream, void **arguments) {
  if (!current) return 201;
  struct Launch *of = &launches[launch_count++ % MOST];
  memset(of, 0, sizeof *of);
  strncpy(of->kernel, kernel, NAME - 1);
  memcpy(of->grid, sizes, sizeof of->grid);
  memcpy(of->block, sizes + 3, sizeof of->block);
  of->shared_bytes = (int)sizes[6];
  of->stream = (uint64_t)(uintptr_t)stream;
  char symbol[NAME + 8];
  snprintf(symbol, sizeof symbol, "on_cpu_%s", kernel);
  for (int i = 0; i < program_count; ++i) {
    const Entry entry = (Entry)dlsym(programs[i], symbol);
    if (entry) { entry(of->grid, of->block, arguments, 0); return 0; }
  }
  return NOT_FOUND;
}
int cuLaunchKernelEx(const void *config, void *kernel, void **arguments, void **extra) {
  FAIL;
  return launch(kernel, config, *(void **)((char *)config + 32), arguments);
}
int cuGetErrorName(int error, const char **text) { *text = "CUDA_ERROR"; return 0; }
int cuGetErrorString(int error, const char **text) {
  *text = error == 2 ? "out of memory" : error == 100 ? "no CUDA-capable device is detected" : error == 700
      ? "an illegal memory access was encountered" : error == 719 ? "unspecified launch failure" : "an error";
  return 0;
}

int cuGetProcAddress_v2(const char *symbol, void **function, int version, uint64_t flags, int *status) {
  char second[NAME];
  snprintf(second, sizeof second, "%s_v2", symbol);
  void *const self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  *function = dlsym(self, second);
  if (!*function) *function = dlsym(self, symbol);
  if (status) *status = *function ? 0 : 1;
  return *function ? 0 : NOT_FOUND;
}
int cuGetProcAddress(const char *symbol, void **function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(symbol, function, version, flags, 0);
}
