// What Winograd's transforms add to conv.cl: four columns of a transpose, and lines fetched to be written.
//
// transpose_strip{W}(p, apart, to, step)   4 columns of W rows, `apart` elements from each other at p; column c goes to to[c * step].
// half_transpose_strip{W}, bf16_transpose_strip{W}    the same from float16 and bfloat16 storage to float.
// PREFETCH_WRITE(p)                        start to fetch the cache line of a __global pointer, which need not exist, for writing.

#ifdef __has_builtin
#if __has_builtin(__builtin_prefetch)
#define PREFETCH_WRITE(p) __builtin_prefetch((const __global void *)(p), 1)
#endif
#endif
#ifndef PREFETCH_WRITE
#define PREFETCH_WRITE(p)
#endif

#define STRIP(NAME, S, W, LOAD)                                                                                        \
  INLINE void NAME##transpose_strip##W(const __global S *p, long apart, __local float##W *to, int step) {              \
    const int c = 0;                                                                                                   \
    TRANSPOSE_STRIP(float, W, LOAD)                                                                                    \
  }
STRIP(, float, 4, vec_load4)
STRIP(half_, ushort, 4, half_load4)
STRIP(bf16_, ushort, 4, bf16_load4)
STRIP(, float, 8, vec_load4)
STRIP(half_, ushort, 8, half_load4)
STRIP(bf16_, ushort, 8, bf16_load4)
STRIP(, float, 16, vec_load4)
STRIP(half_, ushort, 16, half_load4)
STRIP(bf16_, ushort, 16, bf16_load4)
