// The matrix instruction of AMD's RDNA 3 (gfx11) with waves of 32: wmma_f32_16x16x16.
//
// gfx11_product_{half,bf16}, gfx11_load_{a,b}, gfx11_row, gfx11_column, gfx11_lane, gfx11_warp: as in matrix_nvidia.cl.
// C (16 x 16) += A (16 x 16) B (16 x 16) by a wave of 32. A lane holds of A: all of
// row lane % 16 (both halves of the wave hold the same); of B: all of column lane % 16; of C: column lane % 16, rows
// 2 i + lane / 16.
// Source: AMD, RDNA 3 Instruction Set Architecture, "Wave Matrix Multiply Accumulate"; AMD Matrix Instruction Calculator.

#define gfx11_lane(item) ((item) & 31)
#define gfx11_warp(item) ((item) >> 5)
#define gfx11_row(lane, i) (2 * (i) + ((lane) >> 4))
#define gfx11_column(lane, i) ((lane) & 15)
#define gfx11_attribute

// `slice` and `pitch` are multiples of four uints.
INLINE void gfx11_load_a(uint *to, const __local uint *slice, int pitch, int lane) {
  const __local uint4 *row = (const __local uint4 *)(slice + (lane & 15) * pitch);
  const uint4 low = row[0], high = row[1];
  to[0] = low.x, to[1] = low.y, to[2] = low.z, to[3] = low.w;
  to[4] = high.x, to[5] = high.y, to[6] = high.z, to[7] = high.w;
}

INLINE void gfx11_load_b(uint *to, const __local uint *slice, int pitch, int lane) { gfx11_load_a(to, slice, pitch, lane); }

#ifndef MATRIX_EMULATED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define GFX11_PRODUCT(NAME, KIND, INSTRUCTION)                                                                          \
  typedef KIND gfx11_##NAME __attribute__((ext_vector_type(16)));                                                       \
  INLINE void gfx11_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {          \
    const uint8 left = (uint8)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]);                                         \
    const uint8 right = (uint8)(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]);                                        \
    const float8 sums = INSTRUCTION(__builtin_astype(left, gfx11_##NAME), __builtin_astype(right, gfx11_##NAME),        \
                                     (float8)(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));                         \
    c[0] = sums.s0, c[1] = sums.s1, c[2] = sums.s2, c[3] = sums.s3;                                                     \
    c[4] = sums.s4, c[5] = sums.s5, c[6] = sums.s6, c[7] = sums.s7;                                                     \
  }
GFX11_PRODUCT(half, half, __builtin_amdgcn_wmma_f32_16x16x16_f16_w32)
GFX11_PRODUCT(bf16, short, __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32)
#endif
