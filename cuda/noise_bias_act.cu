// What follows each of the generator's convolutions (fgnet_plugin/ops/noise_bias_act.py): demodulation, noise, bias,
// leaky ReLU and gain, times the next convolution's style; after an upsampling convolution behind the [1, 3, 3, 1] blur.
// Maps are channels-last. A thread keeps its channels, so that what belongs to them is read once.

#define SLOPE 0.2f
#define GAIN 1.41421356237309515f

template <int V> struct Channels {
  float demodulation[V], bias[V], post[V];

  __device__ __forceinline__ Channels(
      const float *demodulations, const float *biases, const float *posts, int sample, int channels, int first) {
    const long long at = static_cast<long long>(sample) * channels + first;
    load(demodulations + at, demodulation);
    load(biases + first, bias);
    load_or(posts == nullptr ? nullptr : posts + at, post, 1.0f);
  }

  // The layer's result for one pixel; `mask` is its factor.
  __device__ __forceinline__ void finish(float (&x)[V], float noise, float mask) const {
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const float y = x[v] * demodulation[v] + noise + bias[v];
      x[v] = (y > 0.0f ? y : SLOPE * y) * (GAIN * mask);
    }
  }

  // As the next convolution reads it.
  __device__ __forceinline__ void restyle(float (&x)[V]) const {
#pragma unroll
    for (int v = 0; v < V; ++v) x[v] *= post[v];
  }
};

// x, out [B, pixels, C]; demodulation, post [B, C]; noise, mask [pixels]; bias [C]; of BOTH, plain as out, the result without
// `post`. Block (C/V, rows), grid (.., B).
template <typename T, int V, bool BOTH>
__device__ __forceinline__ void noise_bias_act(
    const T *x, const float *demodulations, const float *noise, const float *biases, const float *posts, const float *mask,
    T *out, T *plain, int pixels, int channels) {
  constexpr int UNROLL = 4;  // loads in flight
  const int first = threadIdx.x * V, sample = blockIdx.y;
  const Channels<V> channel(demodulations, biases, posts, sample, channels, first);
  const long long offset = static_cast<long long>(sample) * pixels * channels + first;
  const int start = blockIdx.x * blockDim.y * UNROLL + threadIdx.y;
  float values[UNROLL][V];
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel < pixels) load(x + offset + static_cast<long long>(pixel) * channels, values[u]);
  }
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel < pixels) {
      channel.finish(values[u], noise[pixel], mask == nullptr ? 1.0f : mask[pixel]);
      if constexpr (BOTH) store(plain + offset + static_cast<long long>(pixel) * channels, values[u]);
      channel.restyle(values[u]);
      store(out + offset + static_cast<long long>(pixel) * channels, values[u]);
    }
  }
}

// x [B, height + 1, width + 1, C], the transposed convolution's result; out [B, height, width, C]; noise [height, width].
// A thread goes down ROWS rows of COLUMNS columns, four channels at most: with eight, its rows would not fit its registers.
// Block (C/V, columns/COLUMNS), grid (.., .., B).
template <typename T, int V>
__device__ __forceinline__ void blur_noise_act(
    const T *x, const float *demodulations, const float *noise, const float *biases, const float *posts, T *out, int height,
    int width, int channels) {
  constexpr int ROWS = 15, COLUMNS = 2;
  const int first = threadIdx.x * V, sample = blockIdx.z;
  const int left = (blockIdx.x * blockDim.y + threadIdx.y) * COLUMNS, top = blockIdx.y * ROWS;
  if (left >= width) return;
  const Channels<V> channel(demodulations, biases, posts, sample, channels, first);
  const long long row_stride = static_cast<long long>(width + 1) * channels;
  const T *const source = x + sample * (height + 1) * row_stride + first;
  T *const target = out + static_cast<long long>(sample) * height * width * channels + first;
  float above[3][COLUMNS][V];  // the last three rows, blurred along the row
  static_assert(ROWS % 3 == 0, "the three rows take turns");
  for (int three = 0; three < ROWS + 3; three += 3) {
#pragma unroll
    for (int turn = 0; turn < 3; ++turn) {  // unrolled, so that `above` stays in registers
      const int row = top + three + turn - 1, to = row - 2;
      float blurred[COLUMNS][V] = {};
      if (row >= 0 && row <= height) {
#pragma unroll
        for (int t = 0; t < COLUMNS + 3; ++t) {
          const int column = left + t - 1;
          if (column < 0 || column > width) continue;
          float value[V];
          load(source + row * row_stride + static_cast<long long>(column) * channels, value);
#pragma unroll
          for (int c = 0; c < COLUMNS; ++c) {
            if (t < c || t > c + 3) continue;
            const float weight = t == c || t == c + 3 ? 0.25f : 0.75f;
#pragma unroll
            for (int v = 0; v < V; ++v) blurred[c][v] += weight * value[v];
          }
        }
      }
      if (three > 0 && to < height) {
#pragma unroll
        for (int c = 0; c < COLUMNS; ++c) {
          if (left + c < width) {
            float result[V];
#pragma unroll
            for (int v = 0; v < V; ++v)
              result[v] = 0.25f * (above[turn][c][v] + blurred[c][v]) +
                          0.75f * (above[(turn + 1) % 3][c][v] + above[(turn + 2) % 3][c][v]);
            const int pixel = to * width + left + c;
            channel.finish(result, noise[pixel], 1.0f);
            channel.restyle(result);
            store(target + static_cast<long long>(pixel) * channels, result);
          }
        }
      }
#pragma unroll
      for (int c = 0; c < COLUMNS; ++c)
#pragma unroll
        for (int v = 0; v < V; ++v) above[turn][c][v] = blurred[c][v];
    }
  }
}

#define DEFINE(NAME, T, V)                                                                                              \
  extern "C" __global__ void __launch_bounds__(512) noise_bias_act_##NAME(                                              \
      const T *x, const float *demodulation, const float *noise, const float *bias, const float *post,                  \
      const float *mask, T *out, int pixels, int channels) {                                                            \
    noise_bias_act<T, V, false>(x, demodulation, noise, bias, post, mask, out, nullptr, pixels, channels);              \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(512) noise_act_styled_##NAME(                                            \
      const T *x, const float *demodulation, const float *noise, const float *bias, const float *style, T *plain,       \
      T *styled, int pixels, int channels) {                                                                            \
    noise_bias_act<T, V, true>(x, demodulation, noise, bias, style, nullptr, styled, plain, pixels, channels);          \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(512) blur_noise_act_##NAME(                                              \
      const T *x, const float *demodulation, const float *noise, const float *bias, const float *post, T *out,          \
      int height, int width, int channels) {                                                                            \
    blur_noise_act<T, (V < 4 ? V : 4)>(x, demodulation, noise, bias, post, out, height, width, channels);               \
  }
FOR_EACH_TYPE(DEFINE)
