// C (16 x 8) = A (16 x 2 pairs) B (2 pairs x 8) by one warp with MATRIX_PRODUCT, a function of matrix_<family>.cl: what
// runtime/matrix.py compares with the right product before any other kernel uses that instruction. A is kept row by row,
// B column by column, two 16-bit elements to a uint; products are chained, as in gemm_matrix.cl.mako.
__attribute__((reqd_work_group_size(32, 1, 1)))
__kernel void matrix_probe(__global const uint *restrict A, __global const uint *restrict B, __global float *restrict C,
                           int pairs) {
  __local uint exchange[192];
  const int lane = get_local_id(0), quad = lane >> 2, pair = lane & 3;
  float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = pair; k < pairs; k += 8) {
    const int near = quad * pairs + k, far = near + 8 * pairs;
    const uint a[4] = {A[near], A[far], A[near + 4], A[far + 4]}, b[2] = {B[near], B[near + 4]};
    MATRIX_PRODUCT(c, a, b, exchange, lane);
  }
  for (int i = 0; i < 4; ++i) C[(quad + (i >> 1) * 8) * 8 + 2 * pair + (i & 1)] = c[i];
}
