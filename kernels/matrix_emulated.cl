// The matrix instructions of matrix_<family>.cl in plain C, so that kernels that use them can be tested on any device. Stands
// before that file, whose own products it takes away.
//
// <family>_product_{half,bf16}(c, a, b, exchange, lane)    as there, for the fragment of one warp; every work-item of the
//     work-group calls it. `exchange`: LANES * (A + B) uints of local memory of the warp.
//
// Each family's registers as its manufacturer defines them, independently of how the family's file fills them: which lane holds
// A[row][k], which of its 16-bit elements that is; the same of B[k][column]; where c[i] stands.

#define MATRIX_EMULATED 1

#define EMULATED_VALUE(NAME, words, place) NAME##_value((ushort)((words)[(place) >> 1] >> ((place) & 1) * 16 & 0xffffu))

#define EMULATED_PRODUCT(FAMILY, NAME, A, B, SUMS)                                                                      \
  INLINE void FAMILY##_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {       \
    for (int i = 0; i < A; ++i) exchange[lane * (A + B) + i] = a[i];                                                    \
    for (int i = 0; i < B; ++i) exchange[lane * (A + B) + A + i] = b[i];                                                \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                       \
    for (int i = 0; i < SUMS; ++i) {                                                                                    \
      const int row = FAMILY##_ROW(lane, i), column = FAMILY##_COLUMN(lane, i);                                         \
      float sum = c[i];                                                                                                 \
      for (int k = 0; k < 16; ++k) {                                                                                    \
        const __local uint *x = exchange + FAMILY##_A_LANE(row, k) * (A + B);                                           \
        const __local uint *y = exchange + FAMILY##_B_LANE(k, column) * (A + B) + A;                                    \
        sum += EMULATED_VALUE(NAME, x, FAMILY##_A_PLACE(row, k)) * EMULATED_VALUE(NAME, y, FAMILY##_B_PLACE(k, column));\
      }                                                                                                                 \
      c[i] = sum;                                                                                                       \
    }                                                                                                                   \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                                       \
  }

#define nvidia_A_LANE(row, k) (((row) & 7) * 4 + ((k) >> 1 & 3))
#define nvidia_A_PLACE(row, k) (((k) & 1) + 2 * ((row) >> 3) + 4 * ((k) >> 3))
#define nvidia_B_LANE(k, column) ((column) * 4 + ((k) >> 1 & 3))
#define nvidia_B_PLACE(k, column) (((k) & 1) + 2 * ((k) >> 3))
#define nvidia_ROW(lane, i) (((lane) >> 2) + 8 * ((i) >> 1))
#define nvidia_COLUMN(lane, i) (((lane) & 3) * 2 + ((i) & 1))
EMULATED_PRODUCT(nvidia, half, 4, 2, 4)
EMULATED_PRODUCT(nvidia, bf16, 4, 2, 4)

#define intel8_A_LANE(row, k) ((k) >> 1)
#define intel8_A_PLACE(row, k) (2 * (row) + ((k) & 1))
#define intel8_B_LANE(k, column) (column)
#define intel8_B_PLACE(k, column) (k)
#define intel8_ROW(lane, i) (i)
#define intel8_COLUMN(lane, i) (lane)
EMULATED_PRODUCT(intel8, half, 8, 8, 8)
EMULATED_PRODUCT(intel8, bf16, 8, 8, 8)

#define intel16_A_LANE(row, k) (k)
#define intel16_A_PLACE(row, k) (row)
#define intel16_B_LANE(k, column) (column)
#define intel16_B_PLACE(k, column) (k)
#define intel16_ROW(lane, i) (i)
#define intel16_COLUMN(lane, i) (lane)
EMULATED_PRODUCT(intel16, half, 4, 8, 8)
EMULATED_PRODUCT(intel16, bf16, 4, 8, 8)

// The upper half of a gfx11 wave must hold what the lower does: odd K are taken from there.
#define gfx11_A_LANE(row, k) ((row) + 16 * ((k) & 1))
#define gfx11_A_PLACE(row, k) (k)
#define gfx11_B_LANE(k, column) ((column) + 16 * ((k) & 1))
#define gfx11_B_PLACE(k, column) (k)
#define gfx11_ROW(lane, i) (2 * (i) + ((lane) >> 4))
#define gfx11_COLUMN(lane, i) ((lane) & 15)
EMULATED_PRODUCT(gfx11, half, 8, 8, 8)
EMULATED_PRODUCT(gfx11, bf16, 8, 8, 8)

#define gfx12_A_LANE(row, k) ((row) + 16 * ((k) >> 3))
#define gfx12_A_PLACE(row, k) ((k) & 7)
#define gfx12_B_LANE(k, column) ((column) + 16 * ((k) >> 3))
#define gfx12_B_PLACE(k, column) ((k) & 7)
#define gfx12_ROW(lane, i) (8 * ((lane) >> 4) + (i))
#define gfx12_COLUMN(lane, i) ((lane) & 15)
EMULATED_PRODUCT(gfx12, half, 4, 4, 8)
EMULATED_PRODUCT(gfx12, bf16, 4, 4, 8)

#define cdna_A_LANE(row, k) ((row) + 16 * ((k) >> 2))
#define cdna_A_PLACE(row, k) ((k) & 3)
#define cdna_B_LANE(k, column) ((column) + 16 * ((k) >> 2))
#define cdna_B_PLACE(k, column) ((k) & 3)
#define cdna_ROW(lane, i) (4 * ((lane) >> 4) + (i))
#define cdna_COLUMN(lane, i) ((lane) & 15)
EMULATED_PRODUCT(cdna, half, 2, 2, 4)
EMULATED_PRODUCT(cdna, bf16, 2, 2, 4)
