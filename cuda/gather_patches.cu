// Rows and columns of a map, times the next convolution's style (fgnet_plugin/ops/gather_patches.py): what the generator's last two
// layers read. Maps are channels-last. A thread keeps its channels, so that their style is read once.

// x [B, height, width, C]; rows [n], columns [m] of it, -1 for zeros; style [B, C]; out [B, n, m, C].
// Block (C/V, pixels), grid (.., B).
template <typename T, int V>
__device__ __forceinline__ void gather_patches(
    const T *x, const int *rows, const int *columns, const float *styles, T *out, int height, int width, int n, int m,
    int channels) {
  constexpr int UNROLL = 4;  // loads in flight
  const int first = threadIdx.x * V, sample = blockIdx.y, pixels = n * m;
  const int start = blockIdx.x * blockDim.y * UNROLL + threadIdx.y;
  float style[V], values[UNROLL][V];
  load(styles + static_cast<long long>(sample) * channels + first, style);
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel >= pixels) continue;
    const int row = rows[pixel / m], column = columns[pixel % m];
    if (row >= 0 && column >= 0) {
      load(x + ((static_cast<long long>(sample) * height + row) * width + column) * channels + first, values[u]);
    } else {
#pragma unroll
      for (int v = 0; v < V; ++v) values[u][v] = 0.0f;
    }
  }
#pragma unroll
  for (int u = 0; u < UNROLL; ++u) {
    const int pixel = start + u * blockDim.y;
    if (pixel >= pixels) continue;
#pragma unroll
    for (int v = 0; v < V; ++v) values[u][v] *= style[v];
    store(out + (static_cast<long long>(sample) * pixels + pixel) * channels + first, values[u]);
  }
}

#define DEFINE(NAME, T, V)                                                                                              \
  extern "C" __global__ void __launch_bounds__(512) gather_patches_##NAME(                                              \
      const T *x, const int *rows, const int *columns, const float *style, T *out, int height, int width, int n, int m, \
      int channels) {                                                                                                   \
    gather_patches<T, V>(x, rows, columns, style, out, height, width, n, m, channels);                                  \
  }
FOR_EACH_TYPE(DEFINE)
