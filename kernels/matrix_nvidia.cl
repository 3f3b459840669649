// The matrix instruction of NVIDIA GPUs of compute capability 8.0 and later, from OpenCL C by inline PTX: mma.sync m16n8k16.
//
// nvidia_product_{half,bf16}(c, a, b, exchange, lane)    C (16 x 8, float) += A (16 x 16) B (16 x 8), by 32 work-items.
// All 32 work-items of a warp call it together. Who holds which elements: see matrix_emulated.cl, which says it in C.
// `exchange` and `lane` are there for the emulation only. runtime/matrix.py finds out whether a driver takes this text.
// Source: NVIDIA, PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type".

#define NVIDIA_PRODUCT(NAME, KIND)                                                                                         \
  INLINE void nvidia_product_##NAME(float *c, const uint *a, const uint *b, __local uint *exchange, int lane) {            \
    __asm__ volatile("mma.sync.aligned.m16n8k16.row.col.f32." KIND "." KIND ".f32 "                                        \
                     "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                               \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                      \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                  \
  }
NVIDIA_PRODUCT(half, "f16")
NVIDIA_PRODUCT(bf16, "bf16")
