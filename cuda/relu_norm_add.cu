// What follows the interpreter's convolutions (fgnet_plugin/ops/relu_norm_add.py): bias, ReLU, BatchNorm as scale and shift,
// and the sum with the generator's next map, of which a resize reads only the pixels that it needs. Maps are channels-last.

// x, out [B, height, width, C]; map [B, from_height, from_width, C] or null; bias, scale, shift [C].
// Block (C/V, rows), grid (.., B).
template <typename T, int V>
__device__ __forceinline__ void relu_norm_add(
    const T *x, const float *biases, const float *scales, const float *shifts, const T *map, T *out, int height, int width,
    int from_height, int from_width, int channels) {
  constexpr int UNROLL = 2;
  const int first = threadIdx.x * V, sample = blockIdx.y, pixels = height * width;
  float bias[V], scale[V], shift[V];
  load(biases + first, bias);
  load(scales + first, scale);
  load(shifts + first, shift);
  const long long offset = static_cast<long long>(sample) * pixels * channels + first;
  const T *const source = map + static_cast<long long>(sample) * from_height * from_width * channels + first;
  const bool resized = from_height != height || from_width != width;
  const float down = height > 1 ? static_cast<float>(from_height - 1) / static_cast<float>(height - 1) : 0.0f;
  const float across = width > 1 ? static_cast<float>(from_width - 1) / static_cast<float>(width - 1) : 0.0f;
  const int start = blockIdx.x * blockDim.y * UNROLL + threadIdx.y;
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel >= pixels) return;
    const long long at = offset + static_cast<long long>(pixel) * channels;
    float value[V];
    load(x + at, value);
    relu_norm(value, bias, scale, shift);
    if (map != nullptr && !resized) {
      float other[V];
      load(source + static_cast<long long>(pixel) * channels, other);
#pragma unroll
      for (int v = 0; v < V; ++v) value[v] += other[v];
    } else if (map != nullptr) {
      const Tap row = tap(pixel / width, down, from_height), column = tap(pixel % width, across, from_width);
      const T *const upper = source + static_cast<long long>(row.first) * from_width * channels;
      const T *const lower = source + static_cast<long long>(row.second) * from_width * channels;
      const long long l = static_cast<long long>(column.first) * channels, r = static_cast<long long>(column.second) * channels;
      float a[V], b[V], c[V], d[V];
      load(upper + l, a);
      load(upper + r, b);
      load(lower + l, c);
      load(lower + r, d);
#pragma unroll
      for (int v = 0; v < V; ++v)
        value[v] += (1.0f - row.weight) * ((1.0f - column.weight) * a[v] + column.weight * b[v]) +
                    row.weight * ((1.0f - column.weight) * c[v] + column.weight * d[v]);
    }
    store(out + at, value);
  }
}

#define DEFINE(NAME, T, V)                                                                                              \
  extern "C" __global__ void __launch_bounds__(512) relu_norm_add_##NAME(                                               \
      const T *x, const float *bias, const float *scale, const float *shift, const T *map, T *out, int height,          \
      int width, int from_height, int from_width, int channels) {                                                       \
    relu_norm_add<T, V>(x, bias, scale, shift, map, out, height, width, from_height, from_width, channels);             \
  }
FOR_EACH_TYPE(DEFINE)
