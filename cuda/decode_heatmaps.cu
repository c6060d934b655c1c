// Heatmaps as the interpreter leaves them -> float32 planes and, for each block of pixels, the sums of the clamped values
// (fgnet_plugin/ops/decode_heatmaps.py). Through shared memory, so that both sides are read and written in whole lines.

#define PIXELS 256
#define MOST_MAPS 44  // of float32, with a column of padding, in 48 KB

// x [B, pixels, maps]; heatmaps [B, maps, pixels]; sums [B, blocks, maps]. Block PIXELS, grid (blocks, B).
template <typename T>
__device__ __forceinline__ void decode_heatmaps(const T *x, float *heatmaps, float *sums, int pixels, int maps) {
  __shared__ float tile[PIXELS * (MOST_MAPS + 1)];
  __shared__ float partial[PIXELS];
  const int sample = blockIdx.y, start = blockIdx.x * PIXELS, count = min(PIXELS, pixels - start);
  const int pitch = maps | 1;  // odd: neighbouring pixels lie in different banks
  const T *const source = x + (static_cast<long long>(sample) * pixels + start) * maps;
  for (int i = threadIdx.x; i < count * maps; i += PIXELS) {
    float value[1];
    load(source + i, value);
    tile[i / maps * pitch + i % maps] = value[0];
  }
  __syncthreads();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int first = 0; first < maps; first += PIXELS / 32) {
    const int map = first + warp;
    float sum = 0.0f;
    if (map < maps) {
      float *const target = heatmaps + (static_cast<long long>(sample) * maps + map) * pixels + start;
      for (int pixel = lane; pixel < count; pixel += 32) {
        const float value = tile[pixel * pitch + map];
        target[pixel] = value;
        sum += value < -1.0f ? -1.0f : value > 1.0f ? 1.0f : value;  // NaN stays NaN
      }
    }
    partial[threadIdx.x] = sum;
    __syncthreads();
    if (lane == 0 && map < maps) {
      float total = 0.0f;
      for (int i = 0; i < 32; ++i) total += partial[threadIdx.x + i];
      sums[(static_cast<long long>(sample) * gridDim.x + blockIdx.x) * maps + map] = total;
    }
    __syncthreads();
  }
}

#define DEFINE(NAME, T)                                                                                                 \
  extern "C" __global__ void __launch_bounds__(PIXELS) decode_heatmaps_##NAME(                                          \
      const T *x, float *heatmaps, float *sums, int pixels, int maps) {                                                 \
    decode_heatmaps<T>(x, heatmaps, sums, pixels, maps);                                                                \
  }
DEFINE(float32, float) DEFINE(bfloat16, bf16) DEFINE(float16, f16)
