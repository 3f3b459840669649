// The matrix instruction of Intel GPUs whose smallest sub-group has 8 work-items: Arc A, Data Center Flex.
//
// intel8_product_{half,bf16}, intel8_load_{a,b}, intel8_row, intel8_column, intel8_lane, intel8_warp: as in matrix_nvidia.cl.
// C (8 x 8) += A (8 x 16) B (16 x 8) by a sub-group of 8, which the kernel must ask for (intel8_attribute). A lane holds
// of A: rows 0..7 at pair `lane`, a word each; of B: column `lane`, 8 pairs; of C: rows 0..7 of column `lane`.
// The functions are declared here because not every build of Intel's compiler declares them (Debian's does not).
// Source: Khronos registry, cl_intel_subgroup_matrix_multiply_accumulate.

#ifdef MATRIX_EMULATED
#define intel8_lane(item) ((item) & 7)
#define intel8_warp(item) ((item) / 8)
#define intel8_attribute
#else
#define intel8_lane(item) ((int)get_sub_group_local_id())
#define intel8_warp(item) ((int)get_sub_group_id())
#define intel8_attribute __attribute__((intel_reqd_sub_group_size(8)))
#endif
#define intel8_row(lane, i) (i)
#define intel8_column(lane, i) (lane)

INLINE void intel8_load_a(uint *a, const __local uint *slice, int pitch, int lane) {
#pragma unroll
  for (int i = 0; i < 8; ++i) a[i] = slice[i * pitch + lane];
}

INLINE void intel8_load_b(uint *b, const __local uint *slice, int pitch, int lane) {
#pragma unroll
  for (int i = 0; i < 8; ++i) b[i] = slice[lane * pitch + i];
}

#ifndef MATRIX_EMULATED
#define INTEL_PRODUCT(NAME, KIND)                                                                                       \
  float8 __attribute__((overloadable)) intel_sub_group_##KIND##_##KIND##_matrix_mad_k16(int8 a, int8 b, float8 c);      \
  INLINE void intel8_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {         \
    const int8 left = as_int8((uint8)(a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]));                                 \
    const int8 right = as_int8((uint8)(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]));                                \
    const float8 sums = intel_sub_group_##KIND##_##KIND##_matrix_mad_k16(                                               \
        left, right, (float8)(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));                                         \
    c[0] = sums.s0, c[1] = sums.s1, c[2] = sums.s2, c[3] = sums.s3;                                                     \
    c[4] = sums.s4, c[5] = sums.s5, c[6] = sums.s6, c[7] = sums.s7;                                                     \
  }
INTEL_PRODUCT(half, f16)
INTEL_PRODUCT(bf16, bf16)
#endif
