// The matrix instruction of matrix_nvidia.cl in plain C, so that kernels that use it can be tested on any device.
//
// emulated_product_{half,bf16}(c, a, b, exchange, lane)    C (16 x 8, float) += A (16 x 16) B (16 x 8), by 32 work-items.
// Every work-item of the work-group calls it, for its own 32 and with 192 uints of local memory for them (`exchange`).
// A pair is two neighbours along K, the lower in the low half. Work-item `lane` holds, with quad = lane / 4, pair = lane % 4:
//   a[0..3]   of A: row quad, quad + 8 at `pair`; row quad, quad + 8 at `pair + 4`
//   b[0..1]   of B: column quad at `pair`, at `pair + 4`
//   c[0..3]   of C: row quad, columns 2 pair and 2 pair + 1; row quad + 8, the same columns

#define EMULATED_PRODUCT(NAME)                                                                                             \
  INLINE void emulated_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {          \
    for (int i = 0; i < 4; ++i) exchange[lane * 6 + i] = a[i];                                                             \
    for (int i = 0; i < 2; ++i) exchange[lane * 6 + 4 + i] = b[i];                                                         \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                          \
    for (int i = 0; i < 4; ++i) {                                                                                          \
      const int row = (lane >> 2) + (i >> 1) * 8, column = 2 * (lane & 3) + (i & 1);                                       \
      float sum = c[i];                                                                                                    \
      for (int k = 0; k < 16; ++k) {                                                                                       \
        const int pair = (k >> 1) & 3, far = k >> 3, shift = (k & 1) * 16;                                                 \
        const uint x = exchange[((row & 7) * 4 + pair) * 6 + far * 2 + (row >> 3)] >> shift;                               \
        const uint y = exchange[(column * 4 + pair) * 6 + 4 + far] >> shift;                                               \
        sum += NAME##_value((ushort)(x & 0xffffu)) * NAME##_value((ushort)(y & 0xffffu));                                  \
      }                                                                                                                    \
      c[i] = sum;                                                                                                          \
    }                                                                                                                      \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                          \
  }
EMULATED_PRODUCT(half)
EMULATED_PRODUCT(bf16)
