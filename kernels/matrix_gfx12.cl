// The matrix instruction of AMD's RDNA 4 (gfx12) with waves of 32: wmma_f32_16x16x16.
//
// gfx12_product_{half,bf16}, gfx12_load_{a,b}, gfx12_row, gfx12_column, gfx12_lane, gfx12_warp: as in matrix_nvidia.cl.
// C (16 x 16) += A (16 x 16) B (16 x 16) by a wave of 32. A lane holds of A: row
// lane % 16, the 8 elements along K from 8 (lane / 16) on; of B: the same of column lane % 16; of C: column lane % 16, rows
// i + 8 (lane / 16). (Which K a lane's elements are does not matter as long as A and B agree.)
// Source: AMD, RDNA 4 Instruction Set Architecture, "Wave Matrix Multiply Accumulate"; AMD Matrix Instruction Calculator.

#define gfx12_lane(item) ((item) & 31)
#define gfx12_warp(item) ((item) >> 5)
#define gfx12_row(lane, i) ((i) + 8 * ((lane) >> 4))
#define gfx12_column(lane, i) ((lane) & 15)
#define gfx12_attribute

// `slice` and `pitch` are multiples of four uints.
INLINE void gfx12_load_a(uint *to, const __local uint *slice, int pitch, int lane) {
  const __local uint4 *row = (const __local uint4 *)(slice + (lane & 15) * pitch + (lane >> 4) * 4);
  const uint4 words = row[0];
  to[0] = words.x, to[1] = words.y, to[2] = words.z, to[3] = words.w;
}

INLINE void gfx12_load_b(uint *to, const __local uint *slice, int pitch, int lane) { gfx12_load_a(to, slice, pitch, lane); }

#ifndef MATRIX_EMULATED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define GFX12_PRODUCT(NAME, KIND, INSTRUCTION)                                                                          \
  typedef KIND gfx12_##NAME __attribute__((ext_vector_type(8)));                                                        \
  INLINE void gfx12_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {          \
    const uint4 left = (uint4)(a[0], a[1], a[2], a[3]);                                                                 \
    const uint4 right = (uint4)(b[0], b[1], b[2], b[3]);                                                                \
    const float8 sums = INSTRUCTION(__builtin_astype(left, gfx12_##NAME), __builtin_astype(right, gfx12_##NAME),        \
                                     (float8)(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));                         \
    c[0] = sums.s0, c[1] = sums.s1, c[2] = sums.s2, c[3] = sums.s3;                                                     \
    c[4] = sums.s4, c[5] = sums.s5, c[6] = sums.s6, c[7] = sums.s7;                                                     \
  }
GFX12_PRODUCT(half, half, __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12)
GFX12_PRODUCT(bf16, short, __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12)
#endif
