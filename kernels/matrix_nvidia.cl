// The matrix instruction of NVIDIA GPUs of compute capability 8.0 and later, from OpenCL C by inline PTX: mma.sync m16n8k16.
//
// nvidia_product_{half,bf16}(c, a, b, exchange, lane)    C (16 x 8, float) += A (16 x 16) B (16 x 8), by the 32 work-items
//                                                        of a warp together.
// nvidia_load_{a,b}(to, slice, pitch, lane)              what `lane` holds of A, of B: from local memory with a row of A, a
//                                                        column of B every `pitch` uints, of pairs of neighbours along K.
// nvidia_row(lane, i), nvidia_column(lane, i)            where c[i] stands in C.
// nvidia_lane(item), nvidia_warp(item)                   the work-item's place in its warp, the warp's in the work-group.
//
// Every file matrix_<family>.cl has the same functions. With quad = lane / 4 and pair = lane % 4, a lane holds of A: rows quad
// and quad + 8 at `pair`, then at `pair + 4`; of B: column quad at `pair` and `pair + 4`; of C: row quad, columns 2 pair and
// 2 pair + 1, then row quad + 8. `exchange` and `lane` of the product are there for the emulation (matrix_emulated.cl) only.
// runtime/matrix.py finds out whether a driver takes this text.
// Source: NVIDIA, PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type".

#define nvidia_lane(item) ((item) & 31)
#define nvidia_warp(item) ((item) >> 5)
#define nvidia_row(lane, i) (((lane) >> 2) + ((i) >> 1) * 8)
#define nvidia_column(lane, i) (2 * ((lane) & 3) + ((i) & 1))
#define nvidia_attribute

INLINE void nvidia_load_a(uint *a, const __local uint *slice, int pitch, int lane) {
  const __local uint *near = slice + (lane >> 2) * pitch + (lane & 3), *far = near + 8 * pitch;
  a[0] = near[0];
  a[1] = far[0];
  a[2] = near[4];
  a[3] = far[4];
}

INLINE void nvidia_load_b(uint *b, const __local uint *slice, int pitch, int lane) {
  const __local uint *near = slice + (lane >> 2) * pitch + (lane & 3);
  b[0] = near[0];
  b[1] = near[4];
}

#ifndef MATRIX_EMULATED
#define NVIDIA_PRODUCT(NAME, KIND)                                                                                      \
  INLINE void nvidia_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {         \
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32." KIND "." KIND ".f32 "                                     \
                     "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                            \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                   \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                               \
  }
NVIDIA_PRODUCT(half, "f16")
NVIDIA_PRODUCT(bf16, "bf16")
#endif
