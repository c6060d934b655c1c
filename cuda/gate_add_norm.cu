// The pointwise work between the convolutions of the encoder's trunk (fgnet_plugin/ops/gate_add_norm.py): what makes a unit's
// result, and the next unit's BatchNorm as scale and shift, which reads it while it is in registers. Maps are channels-last.

// A thread takes two pixels, and four channels at most: with eight, two maps would not fit its registers everywhere.
constexpr int UNROLL = 2, MOST = 4;

template <int V> struct Norm {
  float scale[V], shift[V];

  __device__ __forceinline__ Norm(const float *scales, const float *shifts, int first) {
    load(scales + first, scale);
    load(shifts + first, shift);
  }

  __device__ __forceinline__ void apply(float (&x)[V]) const {
#pragma unroll
    for (int v = 0; v < V; ++v) x[v] = x[v] * scale[v] + shift[v];
  }
};

// x, shortcut, sum, normalised [B, pixels, C]; gate [B, C]; scale, shift [C]. Block (C/V, rows), grid (.., B).
template <typename T, int V>
__device__ __forceinline__ void gate_add_norm(
    const T *x, const float *gates, const T *shortcut, const float *scales, const float *shifts, T *sum, T *normalised,
    int pixels, int channels) {
  const int first = threadIdx.x * V, sample = blockIdx.y;
  const Norm<V> norm(scales, shifts, first);
  float gate[V], values[UNROLL][V], others[UNROLL][V];
  load(gates + static_cast<long long>(sample) * channels + first, gate);
  const long long offset = static_cast<long long>(sample) * pixels * channels + first;
  const int start = blockIdx.x * blockDim.y * UNROLL + threadIdx.y;
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel >= pixels) continue;
    load(x + offset + static_cast<long long>(pixel) * channels, values[u]);
    load(shortcut + offset + static_cast<long long>(pixel) * channels, others[u]);
  }
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel >= pixels) continue;
    const long long at = offset + static_cast<long long>(pixel) * channels;
#pragma unroll
    for (int v = 0; v < V; ++v) values[u][v] = values[u][v] * gate[v] + others[u][v];
    store(sum + at, values[u]);
    norm.apply(values[u]);
    store(normalised + at, values[u]);
  }
}

// x, normalised [B, height, width, C]; kept [B, ceil(height/stride), ceil(width/stride), C]; slope, scale, shift [C].
// Block (C/V, pixels), grid (.., B).
template <typename T, int V>
__device__ __forceinline__ void prelu_norm(
    const T *x, const float *slopes, const float *scales, const float *shifts, T *kept, T *normalised, int height, int width,
    int stride, int channels) {
  const int first = threadIdx.x * V, sample = blockIdx.y, pixels = height * width;
  const int kept_height = (height + stride - 1) / stride, kept_width = (width + stride - 1) / stride;
  const Norm<V> norm(scales, shifts, first);
  float slope[V], values[UNROLL][V];
  load(slopes + first, slope);
  const long long offset = static_cast<long long>(sample) * pixels * channels + first;
  const int start = blockIdx.x * blockDim.y * UNROLL + threadIdx.y;
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel < pixels) load(x + offset + static_cast<long long>(pixel) * channels, values[u]);
  }
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel >= pixels) continue;
    const int row = pixel / width, column = pixel % width;
#pragma unroll
    for (int v = 0; v < V; ++v) values[u][v] = values[u][v] > 0.0f ? values[u][v] : slope[v] * values[u][v];
    if (row % stride == 0 && column % stride == 0) {
      const long long at = (static_cast<long long>(sample) * kept_height + row / stride) * kept_width + column / stride;
      store(kept + at * channels + first, values[u]);
    }
    norm.apply(values[u]);
    store(normalised + offset + static_cast<long long>(pixel) * channels, values[u]);
  }
}

#define DEFINE(NAME, T, V)                                                                                              \
  extern "C" __global__ void __launch_bounds__(512) gate_add_norm_##NAME(                                               \
      const T *x, const float *gate, const T *shortcut, const float *scale, const float *shift, T *sum, T *normalised,  \
      int pixels, int channels) {                                                                                       \
    gate_add_norm<T, (V < MOST ? V : MOST)>(x, gate, shortcut, scale, shift, sum, normalised, pixels, channels);        \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(512) prelu_norm_##NAME(                                                  \
      const T *x, const float *slope, const float *scale, const float *shift, T *kept, T *normalised, int height,       \
      int width, int stride, int channels) {                                                                            \
    prelu_norm<T, (V < MOST ? V : MOST)>(x, slope, scale, shift, kept, normalised, height, width, stride, channels);    \
  }
FOR_EACH_TYPE(DEFINE)
