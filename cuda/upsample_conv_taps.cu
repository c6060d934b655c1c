// The rest of a 5×5 convolution of a map that is upsampled twofold, once each of its taps has met the small map
// (fgnet_plugin/ops/upsample_conv_taps.py): the products are upsampled bilinearly with aligned corners, shifted and summed; then
// bias, ReLU, BatchNorm as scale and shift, and the sum with the generator's next map. Maps are channels-last.

constexpr int TAPS = 5, COLUMNS = 2;  // of the kernel; of a thread's tile of the result, even like its ROWS
static_assert(TAPS == 5, "TAPS / 2 small pixels before a tile are those that its taps reach");

// Upsampled pixel 2k lies between the small map's pixels k - 1 and k, pixel 2k + 1 between k and k + 1. Number q of those that
// a tile and its taps reach lies between this one and the next of the small pixels that they reach.
__device__ __forceinline__ constexpr int lower(int q) { return (q + 1) / 2; }
constexpr int REACH = COLUMNS + TAPS - 1, SMALL = lower(REACH - 1) + 2;  // columns that a tile reaches: upsampled, small

// products [B, height, width, 5·5, C]; map [B, 2·height, 2·width, C] or null; out the same; bias, scale, shift [C].
// A thread makes ROWS × COLUMNS pixels of V channels. Block (C/V, tiles), grid (.., B).
template <typename T, int V, int ROWS>
__device__ __forceinline__ void taps_relu_norm_add(
    const T *products, const float *biases, const float *scales, const float *shifts, const T *map, T *out, int height,
    int width, int channels) {
  const int out_height = 2 * height, out_width = 2 * width, across = (out_width + COLUMNS - 1) / COLUMNS;
  const int tile = blockIdx.x * blockDim.y + threadIdx.y, first = threadIdx.x * V, sample = blockIdx.y;
  if (tile >= across * ((out_height + ROWS - 1) / ROWS)) return;
  const int top = tile / across * ROWS, left = tile % across * COLUMNS;
  // Position p of the upsampled map is at p·(height - 1)/(2·height - 1) of the small one. How far that is from a pixel is
  // counted in integers: a position in float32 would be off by up to 4e-6.
  const float per_row = 1.0f / static_cast<float>(out_height - 1), per_column = 1.0f / static_cast<float>(out_width - 1);

  // A column's shares of the small pixel `lower` and of the one after it. Outside they are 0, of the map's edge: an infinite
  // product there makes NaN, where the definition has infinity.
  float near[REACH], far[REACH];
  int column[SMALL];
#pragma unroll
  for (int q = 0; q < REACH; ++q) {
    const int at = left - TAPS / 2 + q, from = left / 2 - TAPS / 2 + lower(q);
    const bool inside = at >= 0 && at < out_width;  // around the upsampled map the convolution reads zeros
    far[q] = inside ? static_cast<float>(at * (width - 1) - from * (out_width - 1)) * per_column : 0.0f;
    near[q] = inside ? 1.0f - far[q] : 0.0f;
  }
#pragma unroll
  for (int j = 0; j < SMALL; ++j) column[j] = min(max(left / 2 - TAPS / 2 + j, 0), width - 1) * TAPS * TAPS * channels;

  float sum[ROWS][COLUMNS][V] = {};
#pragma unroll 1
  for (int tap = 0; tap < TAPS; ++tap) {  // a row of the kernel
    const int last = min(top / 2 - TAPS / 2 + lower(tap + ROWS - 1) + 1, height - 1);
#pragma unroll 1
    for (int row = max(top / 2 - TAPS / 2 + lower(tap), 0); row <= last; ++row) {
      const T *const source =
          products + ((static_cast<long long>(sample) * height + row) * width * TAPS + tap) * TAPS * channels + first;
      float line[COLUMNS][V] = {};  // this row of the products, upsampled along it and summed over the kernel's columns
#pragma unroll
      for (int step = 0; step < TAPS; ++step) {
#pragma unroll
        for (int j = lower(step); j <= lower(step + COLUMNS - 1) + 1; ++j) {
          float value[V];
          load(source + column[j] + step * channels, value);
#pragma unroll
          for (int x = 0; x < COLUMNS; ++x) {
            if (j != lower(step + x) && j != lower(step + x) + 1) continue;
            const float share = j == lower(step + x) ? near[step + x] : far[step + x];
#pragma unroll
            for (int v = 0; v < V; ++v) line[x][v] += share * value[v];
          }
        }
      }
#pragma unroll
      for (int y = 0; y < ROWS; ++y) {
        const int at = top - TAPS / 2 + tap + y;
        const float away = static_cast<float>(at * (height - 1) - row * (out_height - 1)) * per_row;
        const float share = at < 0 || at >= out_height ? 0.0f : max(1.0f - (away < 0.0f ? -away : away), 0.0f);
        if (share == 0.0f) continue;  // about half of the tile's rows do not reach this one
#pragma unroll
        for (int x = 0; x < COLUMNS; ++x)
#pragma unroll
          for (int v = 0; v < V; ++v) sum[y][x][v] += share * line[x][v];
      }
    }
  }

  float bias[V], scale[V], shift[V];
  load(biases + first, bias);
  load(scales + first, scale);
  load(shifts + first, shift);
#pragma unroll
  for (int y = 0; y < ROWS; ++y) {
#pragma unroll
    for (int x = 0; x < COLUMNS; ++x) {
      if (top + y >= out_height || left + x >= out_width) continue;
      const long long at = ((static_cast<long long>(sample) * out_height + top + y) * out_width + left + x) * channels + first;
      float other[V];
      relu_norm(sum[y][x], bias, scale, shift);
      if (map != nullptr) {
        load(map + at, other);
#pragma unroll
        for (int v = 0; v < V; ++v) sum[y][x][v] += other[v];
      }
      store(out + at, sum[y][x]);
    }
  }
}

#define DEFINE(NAME, T, V, ROWS, ...)                                                                                   \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__) taps_relu_norm_add_##NAME(                                  \
      const T *products, const float *bias, const float *scale, const float *shift, const T *map, T *out, int height,   \
      int width, int channels) {                                                                                        \
    taps_relu_norm_add<T, V, ROWS>(products, bias, scale, shift, map, out, height, width, channels);                    \
  }
// Tiles and bounds are such that ptxas spills nothing, up to sm_120.
DEFINE(float32, float, 1, 2, 512, 1) DEFINE(bfloat16, bf16, 1, 4, 512, 1) DEFINE(float16, f16, 1, 4, 512, 1)
DEFINE(float32_wide, float, 4, 2, 384) DEFINE(bfloat16_wide, bf16, 4, 4, 384) DEFINE(float16_wide, f16, 4, 4, 384)
