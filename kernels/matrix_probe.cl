// C (ROWS x 2 COLUMNS) = A (ROWS x 2 pairs) B (2 pairs x 2 COLUMNS) by two warps, each half of the columns, with the
// instruction of matrix_<family>.cl: what runtime/matrix.py compares with the right product before any other kernel uses
// that instruction. A is kept row by row, B column by column, two 16-bit elements to a uint; fragments come from local
// memory and products are chained, as in gemm_matrix.cl.mako.
// runtime/matrix.py gives the numbers in capitals, MATRIX(name): name of the family, and MATRIX_PRODUCT.
__attribute__((reqd_work_group_size(2 * LANES, 1, 1))) MATRIX(attribute)
__kernel void matrix_probe(__global const uint *restrict A, __global const uint *restrict B, __global float *restrict C,
                           int pairs) {
  __local uint slice_a[ROWS * 12] __attribute__((aligned(16))), slice_b[2 * COLUMNS * 12] __attribute__((aligned(16)));
  __local uint exchange[2 * LANES * (WORDS_A + WORDS_B)];
  const int item = get_local_id(0), lane = MATRIX(lane)(item), warp = MATRIX(warp)(item);
  float c[SUMS];
  for (int i = 0; i < SUMS; ++i) c[i] = 0.0f;
  for (int k = 0; k < pairs; k += 8) {
    for (int at = item; at < ROWS * 8; at += 2 * LANES) slice_a[at / 8 * 12 + at % 8] = A[at / 8 * pairs + k + at % 8];
    for (int at = item; at < 2 * COLUMNS * 8; at += 2 * LANES) slice_b[at / 8 * 12 + at % 8] = B[at / 8 * pairs + k + at % 8];
    barrier(CLK_LOCAL_MEM_FENCE);
    uint a[WORDS_A], b[WORDS_B];
    MATRIX(load_a)(a, slice_a, 12, lane);
    MATRIX(load_b)(b, slice_b + warp * COLUMNS * 12, 12, lane);
    MATRIX_PRODUCT(c, a, b, exchange + warp * LANES * (WORDS_A + WORDS_B), lane);
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (int i = 0; i < SUMS; ++i)
    C[MATRIX(row)(lane, i) * 2 * COLUMNS + warp * COLUMNS + MATRIX(column)(lane, i)] = c[i];
}
