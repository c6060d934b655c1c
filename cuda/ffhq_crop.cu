// The antialiased crop of faces from uint8 photos (fgnet_plugin/ops/ffhq_crop.py): a grid of bilinear samples, FACTOR for
// each pixel of the result along each side, reduced by Lanczos's filter of three lobes. Positions are whole numbers, pixels
// times 2^30: exact at any place of any photo, and the same on every machine. A block makes a tile of one face.

#define THREADS 256
#define LOBES 3
#define BITS 30
#define HALF_LEVEL 0.49f  // what FFHQ loses on average by dropping the fraction of 8-bit values

struct Face {
  const unsigned char *photo;
  long long channel, row, column;  // bytes from one to the next
  long long x, y;                  // of the first sample, times 2^BITS
  int xx, xy, yx, yy;              // from a sample to the next: x and y along a row, x and y down a column, times 2^BITS
};

// faces [F]; weights [2 LOBES + 1, 2 LOBES FACTOR], those of the first pixels, of all further ones, of the last pixels;
// out [F, size, size, 3], value * scale + shift of values in [0, 255]. Block THREADS, grid F * tiles of a face.
template <typename T, int FACTOR, int TILE>
__device__ __forceinline__ void ffhq_crop(
    const Face *faces, const float *weights, T *out, int size, float scale, float shift) {
  constexpr int TAPS = 2 * LOBES * FACTOR, SIDE = (TILE - 1) * FACTOR + TAPS;
  constexpr int PITCH = SIDE | 1;  // odd: neighbouring rows lie in different banks
  __shared__ float sampled[3 * SIDE * PITCH];
  __shared__ float narrow[3 * TILE * PITCH];  // [channel, column, row]
  __shared__ float table[(2 * LOBES + 1) * TAPS];
  const int tiles = (size + TILE - 1) / TILE, tile = blockIdx.x % (tiles * tiles), face = blockIdx.x / (tiles * tiles);
  const int left = tile % tiles * TILE, top = tile / tiles * TILE;
  const Face of = faces[face];
  for (int i = threadIdx.x; i < (2 * LOBES + 1) * TAPS; i += THREADS) table[i] = weights[i];

  const int before = FACTOR / 2 - LOBES * FACTOR;  // from a pixel's first sample to the first that its filter reads
  for (int i = threadIdx.x; i < SIDE * SIDE; i += THREADS) {
    const int column = i % SIDE, row = i / SIDE;
    // Beyond the square weights are 0; the photo may end there.
    const int across = min(max(left * FACTOR + before + column, 0), size * FACTOR - 1);
    const int down = min(max(top * FACTOR + before + row, 0), size * FACTOR - 1);
    const long long x = of.x + static_cast<long long>(across) * of.xx + static_cast<long long>(down) * of.yx;
    const long long y = of.y + static_cast<long long>(across) * of.xy + static_cast<long long>(down) * of.yy;
    const float along_x = static_cast<float>(static_cast<int>(x & ((1 << BITS) - 1))) * (1.0f / (1 << BITS));
    const float along_y = static_cast<float>(static_cast<int>(y & ((1 << BITS) - 1))) * (1.0f / (1 << BITS));
    const unsigned char *const pixel = of.photo + (y >> BITS) * of.row + (x >> BITS) * of.column;
#pragma unroll
    for (int channel = 0; channel < 3; ++channel) {
      const unsigned char *const at = pixel + channel * of.channel;
      const float a = at[0], b = at[of.column], c = at[of.row], d = at[of.row + of.column];
      const float upper = a + (b - a) * along_x, lower = c + (d - c) * along_x;
      sampled[(channel * SIDE + row) * PITCH + column] = upper + (lower - upper) * along_y;
    }
  }
  __syncthreads();

  for (int i = threadIdx.x; i < 3 * TILE * SIDE; i += THREADS) {  // a row each: neighbours share their weights
    const int row = i % SIDE, column = i / SIDE % TILE, channel = i / (SIDE * TILE);
    const float *const from = sampled + (channel * SIDE + row) * PITCH + column * FACTOR;
    const int pixel = min(left + column, size - 1);
    const float *const weight = table + (pixel < LOBES ? pixel : max(pixel - size + 2 * LOBES + 1, LOBES)) * TAPS;
    float sum = 0.0f;
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) sum += weight[tap] * from[tap];
    narrow[(channel * TILE + column) * PITCH + row] = sum;
  }
  __syncthreads();

  for (int i = threadIdx.x; i < 3 * TILE * TILE; i += THREADS) {  // in the order of the result
    const int channel = i % 3, column = i / 3 % TILE, row = i / (3 * TILE);
    if (left + column >= size || top + row >= size) continue;
    const float *const from = narrow + (channel * TILE + column) * PITCH + row * FACTOR;
    const int pixel = top + row;
    const float *const weight = table + (pixel < LOBES ? pixel : max(pixel - size + 2 * LOBES + 1, LOBES)) * TAPS;
    float sum = 0.0f;
#pragma unroll
    for (int tap = 0; tap < TAPS; ++tap) sum += weight[tap] * from[tap];
    const float value[1] = {min(max(sum - HALF_LEVEL, 0.0f), 255.0f) * scale + shift};
    store(out + ((static_cast<long long>(face) * size + top + row) * size + left + column) * 3 + channel, value);
  }
}

#define DEFINE(NAME, T)                                                                                                 \
  extern "C" __global__ void __launch_bounds__(THREADS) ffhq_crop2_##NAME(                                              \
      const Face *faces, const float *weights, T *out, int size, float scale, float shift) {                            \
    ffhq_crop<T, 2, 16>(faces, weights, out, size, scale, shift);                                                       \
  }                                                                                                                     \
  extern "C" __global__ void __launch_bounds__(THREADS) ffhq_crop4_##NAME(                                              \
      const Face *faces, const float *weights, T *out, int size, float scale, float shift) {                            \
    ffhq_crop<T, 4, 8>(faces, weights, out, size, scale, shift);                                                        \
  }
DEFINE(float32, float) DEFINE(bfloat16, bf16) DEFINE(float16, f16)
