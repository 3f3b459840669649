// The matrix instruction of Intel GPUs whose smallest sub-group has 16: Data Center Max, Xe2 (Arc B).
//
// intel16_product_{half,bf16}, intel16_load_{a,b}, intel16_row, intel16_column, intel16_lane, intel16_warp: as in matrix_nvidia.cl.
// C (8 x 16) += A (8 x 16) B (16 x 16) by a sub-group of 16, which the kernel must ask for (intel16_attribute). A lane
// holds of A: rows 0..7 at K = lane, half a word each; of B: column `lane`, 8 pairs; of C: rows 0..7 of column `lane`.
// The functions are declared here because not every build of Intel's compiler declares them (Debian's does not).
// Source: Khronos registry, cl_intel_subgroup_matrix_multiply_accumulate.

#ifdef MATRIX_EMULATED
#define intel16_lane(item) ((item) & 15)
#define intel16_warp(item) ((item) / 16)
#define intel16_attribute
#else
#define intel16_lane(item) ((int)get_sub_group_local_id())
#define intel16_warp(item) ((int)get_sub_group_id())
#define intel16_attribute __attribute__((intel_reqd_sub_group_size(16)))
#endif
#define intel16_row(lane, i) (i)
#define intel16_column(lane, i) (lane)

INLINE void intel16_load_a(uint *a, const __local uint *slice, int pitch, int lane) {
  const __local ushort *column = (const __local ushort *)slice + lane;
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = column[4 * i * pitch] | (uint)column[(4 * i + 2) * pitch] << 16;
}

INLINE void intel16_load_b(uint *b, const __local uint *slice, int pitch, int lane) {
#pragma unroll
  for (int i = 0; i < 8; ++i) b[i] = slice[lane * pitch + i];
}

#ifndef MATRIX_EMULATED
#define INTEL_PRODUCT(NAME, KIND)                                                                                       \
  float8 __attribute__((overloadable)) intel_sub_group_##KIND##_##KIND##_matrix_mad_k16(short8 a, int8 b, float8 c);    \
  INLINE void intel16_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {        \
    const short8 left = as_short8((uint4)(a[0], a[1], a[2], a[3]));                                                     \
    const int8 right = as_int8((uint8)(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]));                                \
    const float8 sums = intel_sub_group_##KIND##_##KIND##_matrix_mad_k16(                                               \
        left, right, (float8)(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));                                         \
    c[0] = sums.s0, c[1] = sums.s1, c[2] = sums.s2, c[3] = sums.s3;                                                     \
    c[4] = sums.s4, c[5] = sums.s5, c[6] = sums.s6, c[7] = sums.s7;                                                     \
  }
INTEL_PRODUCT(half, f16)
INTEL_PRODUCT(bf16, bf16)
#endif
