// The matrix instruction of AMD's CDNA 2 and 3 (gfx90a, gfx940 to gfx942): mfma_f32_16x16x16.
//
// cdna_product_{half,bf16}, cdna_load_{a,b}, cdna_row, cdna_column, cdna_lane, cdna_warp: as in matrix_nvidia.cl.
// C (16 x 16) += A (16 x 16) B (16 x 16) by a wave of 64. A lane holds of A: row
// lane % 16, the 4 elements along K from 4 (lane / 16) on; of B: the same of column lane % 16; of C: column lane % 16, rows
// i + 4 (lane / 16).
// Source: AMD, CDNA 3 Instruction Set Architecture, "Matrix Arithmetic Instructions"; AMD Matrix Instruction Calculator.

#define cdna_lane(item) ((item) & 63)
#define cdna_warp(item) ((item) >> 6)
#define cdna_row(lane, i) ((i) + 4 * ((lane) >> 4))
#define cdna_column(lane, i) ((lane) & 15)
#define cdna_attribute

// `slice` and `pitch` are multiples of four uints.
INLINE void cdna_load_a(uint *to, const __local uint *slice, int pitch, int lane) {
  const __local uint2 *row = (const __local uint2 *)(slice + (lane & 15) * pitch + (lane >> 4) * 2);
  const uint2 words = row[0];
  to[0] = words.x, to[1] = words.y;
}

INLINE void cdna_load_b(uint *to, const __local uint *slice, int pitch, int lane) { cdna_load_a(to, slice, pitch, lane); }

#ifndef MATRIX_EMULATED
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define CDNA_PRODUCT(NAME, KIND, INSTRUCTION)                                                                           \
  typedef KIND cdna_##NAME __attribute__((ext_vector_type(4)));                                                         \
  INLINE void cdna_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {           \
    const uint2 left = (uint2)(a[0], a[1]);                                                                             \
    const uint2 right = (uint2)(b[0], b[1]);                                                                            \
    const float4 sums = INSTRUCTION(__builtin_astype(left, cdna_##NAME), __builtin_astype(right, cdna_##NAME),          \
                                     (float4)(c[0], c[1], c[2], c[3]), 0, 0, 0);                                        \
    c[0] = sums.s0, c[1] = sums.s1, c[2] = sums.s2, c[3] = sums.s3;                                                     \
  }
CDNA_PRODUCT(half, half, __builtin_amdgcn_mfma_f32_16x16x16f16)
CDNA_PRODUCT(bf16, short, __builtin_amdgcn_mfma_f32_16x16x16bf16_1k)
#endif
