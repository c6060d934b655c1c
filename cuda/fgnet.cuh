// What the kernels share: elements of 16 and 32 bits, read and written 16 bytes at a time. No header of CUDA's is needed, so
// that NVRTC compiles it wherever there is a driver. The tests run the same text on the CPU (tests/helpers/cuda_on_cpu.h).
#pragma once

struct bf16 { unsigned short bits; };
struct f16 { unsigned short bits; };

#if defined(__CUDA_ARCH__)
__device__ __forceinline__ float from_bits(unsigned int bits) { return __uint_as_float(bits); }
__device__ __forceinline__ unsigned int to_bits(float value) { return __float_as_uint(value); }

__device__ __forceinline__ void unpack(unsigned int two, float &low, float &high, f16) {
  asm("{ .reg .b16 l, h; mov.b32 {l, h}, %2; cvt.f32.f16 %0, l; cvt.f32.f16 %1, h; }" : "=f"(low), "=f"(high) : "r"(two));
}
__device__ __forceinline__ unsigned int pack(float low, float high, f16) {
  unsigned int two;
  asm("{ .reg .b16 l, h; cvt.rn.f16.f32 l, %1; cvt.rn.f16.f32 h, %2; mov.b32 %0, {l, h}; }" : "=r"(two) : "f"(low), "f"(high));
  return two;
}
#else  // cuda_on_cpu.h of the tests has from_bits, to_bits, from_half and to_half
inline void unpack(unsigned int two, float &low, float &high, f16) {
  low = from_half(static_cast<unsigned short>(two));
  high = from_half(static_cast<unsigned short>(two >> 16));
}
inline unsigned int pack(float low, float high, f16) { return to_half(low) | static_cast<unsigned int>(to_half(high)) << 16; }
#endif

__device__ __forceinline__ void unpack(unsigned int two, float &low, float &high, bf16) {
  low = from_bits(two << 16);
  high = from_bits(two & 0xffff0000u);
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
__device__ __forceinline__ unsigned int pack(float low, float high, bf16) {
  unsigned int two;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(two) : "f"(high), "f"(low));
  return two;
}
#else
__device__ __forceinline__ unsigned int nearest_bf16(float value) {
  const unsigned int bits = to_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;  // NaN, which rounding could turn into infinity
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;     // ties to even
}
__device__ __forceinline__ unsigned int pack(float low, float high, bf16) {
  return nearest_bf16(low) | nearest_bf16(high) << 16;
}
#endif

// Elements that 16 bytes hold.
template <typename T> struct Wide { static constexpr int count = 8; };
template <> struct Wide<float> { static constexpr int count = 4; };

__device__ __forceinline__ void load(const float *from, float (&to)[1]) { to[0] = *from; }
__device__ __forceinline__ void load(const float *from, float (&to)[4]) {
  const float4 four = *reinterpret_cast<const float4 *>(from);
  to[0] = four.x; to[1] = four.y; to[2] = four.z; to[3] = four.w;
}
__device__ __forceinline__ void load(const float *from, float (&to)[8]) {
  float (&low)[4] = reinterpret_cast<float (&)[4]>(to[0]), (&high)[4] = reinterpret_cast<float (&)[4]>(to[4]);
  load(from, low);
  load(from + 4, high);
}
template <typename T> __device__ __forceinline__ void load(const T *from, float (&to)[1]) {
  float unused;
  unpack(from->bits, to[0], unused, T());
}
template <typename T> __device__ __forceinline__ void load(const T *from, float (&to)[4]) {
  const uint2 four = *reinterpret_cast<const uint2 *>(from);
  unpack(four.x, to[0], to[1], T());
  unpack(four.y, to[2], to[3], T());
}
template <typename T> __device__ __forceinline__ void load(const T *from, float (&to)[8]) {
  const uint4 eight = *reinterpret_cast<const uint4 *>(from);
  unpack(eight.x, to[0], to[1], T());
  unpack(eight.y, to[2], to[3], T());
  unpack(eight.z, to[4], to[5], T());
  unpack(eight.w, to[6], to[7], T());
}

__device__ __forceinline__ void store(float *to, const float (&from)[1]) { *to = from[0]; }
__device__ __forceinline__ void store(float *to, const float (&from)[4]) {
  *reinterpret_cast<float4 *>(to) = make_float4(from[0], from[1], from[2], from[3]);
}
template <typename T> __device__ __forceinline__ void store(T *to, const float (&from)[1]) {
  to->bits = static_cast<unsigned short>(pack(from[0], 0.0f, T()));
}
template <typename T> __device__ __forceinline__ void store(T *to, const float (&from)[4]) {
  *reinterpret_cast<uint2 *>(to) = make_uint2(pack(from[0], from[1], T()), pack(from[2], from[3], T()));
}
template <typename T> __device__ __forceinline__ void store(T *to, const float (&from)[8]) {
  *reinterpret_cast<uint4 *>(to) = make_uint4(
      pack(from[0], from[1], T()), pack(from[2], from[3], T()), pack(from[4], from[5], T()), pack(from[6], from[7], T()));
}

// `fallback` where an operand is left out.
template <int V> __device__ __forceinline__ void load_or(const float *from, float (&to)[V], float fallback) {
  if (from != nullptr) {
    load(from, to);
  } else {
#pragma unroll
    for (int v = 0; v < V; ++v) to[v] = fallback;
  }
}

// max(x + bias, 0) · scale + shift, in place.
template <int V>
__device__ __forceinline__ void relu_norm(float (&x)[V], const float (&bias)[V], const float (&scale)[V], const float (&shift)[V]) {
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const float y = x[v] + bias[v];
    x[v] = (y < 0.0f ? 0.0f : y) * scale[v] + shift[v];  // so written, NaN stays NaN
  }
}

// Where a bilinear resize with aligned corners from `source` to `target` pixels reads for pixel `at`, rounded as torch does.
struct Tap { int first, second; float weight; };  // (1 - weight) * x[first] + weight * x[second]
__device__ __forceinline__ Tap tap(int at, float step, int source) {
  const float position = step * static_cast<float>(at);
  const int first = min(static_cast<int>(position), source - 1);
  return {first, min(first + 1, source - 1), position - static_cast<float>(first)};
}

// One entry point for each type: NAME_float32, …; `wide` where channels come in whole 16 bytes.
#define FOR_EACH_TYPE(DEFINE) \
  DEFINE(float32, float, 1) DEFINE(bfloat16, bf16, 1) DEFINE(float16, f16, 1) \
  DEFINE(float32_wide, float, Wide<float>::count) DEFINE(bfloat16_wide, bf16, Wide<bf16>::count) \
  DEFINE(float16_wide, f16, Wide<f16>::count)
