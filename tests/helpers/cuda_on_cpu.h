// What the kernels of cuda/ use of CUDA C++, on the CPU: each thread of a block is a fiber, so that __syncthreads works.
#pragma once
#include <stdlib.h>  // C's headers alone: Zig would first build C++'s library, for minutes
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __shared__ static  // one block runs at a time
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Dim3 { int x, y, z; };
struct uint4 { unsigned int x, y, z, w; };
struct uint2 { unsigned int x, y; };
struct float4 { float x, y, z, w; };
inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
template <typename T> T min(T a, T b) { return b < a ? b : a; }
template <typename T> T max(T a, T b) { return a < b ? b : a; }

inline Dim3 threadIdx, blockIdx, blockDim, gridDim;

inline float from_bits(unsigned int bits) { float value; memcpy(&value, &bits, 4); return value; }
inline unsigned int to_bits(float value) { unsigned int bits; memcpy(&bits, &value, 4); return bits; }
inline float from_half(unsigned short bits) { _Float16 value; memcpy(&value, &bits, 2); return value; }
inline unsigned short to_half(float value) {
  const _Float16 half = static_cast<_Float16>(value);
  unsigned short bits;
  memcpy(&bits, &half, 2);
  return bits;
}

namespace on_cpu {
constexpr int STACK = 64 << 10;
struct Fiber { ucontext_t context; char *stack; bool done; };
inline ucontext_t scheduler;
inline Fiber *running;
inline void (*body)(void *);
inline void *body_data;
inline void enter() { body(body_data); running->done = true; swapcontext(&running->context, &scheduler); }

// Runs a block to its end, each thread from barrier to barrier, in ascending or descending order.
inline void run_block(Fiber *fibers, int count, bool descending) {
  for (int i = 0; i < count; ++i) {
    Fiber &fiber = fibers[i];
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (bool any = true; any;) {
    any = false;
    for (int k = 0; k < count; ++k) {
      const int i = descending ? count - 1 - k : k;
      if (fibers[i].done) continue;
      any = true;
      running = &fibers[i];
      threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
      swapcontext(&scheduler, &fibers[i].context);
    }
  }
}

template <typename T, T... I> struct Indices {};

template <typename... A, int... I>
void call(void (*kernel)(A...), void **arguments, Indices<int, I...>) {
  kernel(*static_cast<A *>(arguments[I])...);
}

template <typename... A>
void start(void (*kernel)(A...), const int *grid, const int *block, void **arguments, bool descending) {
  struct Call { void (*kernel)(A...); void **arguments; } what{kernel, arguments};
  body = [](void *data) {
    const Call &of = *static_cast<Call *>(data);
    call(of.kernel, of.arguments, __make_integer_seq<Indices, int, sizeof...(A)>());
  };
  body_data = &what;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  const int count = block[0] * block[1] * block[2];
  Fiber *const fibers = static_cast<Fiber *>(calloc(count, sizeof(Fiber)));
  for (int i = 0; i < count; ++i) fibers[i].stack = static_cast<char *>(malloc(STACK));
  for (int z = 0; z < grid[2]; ++z)
    for (int y = 0; y < grid[1]; ++y)
      for (int x = 0; x < grid[0]; ++x) {
        blockIdx = {x, y, z};
        run_block(fibers, count, descending);
      }
  for (int i = 0; i < count; ++i) free(fibers[i].stack);
  free(fibers);
}
}  // namespace on_cpu

inline void __syncthreads() { swapcontext(&on_cpu::running->context, &on_cpu::scheduler); }
