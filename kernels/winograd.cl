// What Winograd's input transform adds to conv.cl: four columns of a transpose.
//
// transpose_strip{W}(p, apart, to)         4 columns of W rows, `apart` elements from each other at p; column c goes to to[c].
// half_transpose_strip{W}, bf16_transpose_strip{W}    the same from float16 and bfloat16 storage to float.

#define STRIP(NAME, S, W, LOAD)                                                                                        \
  INLINE void NAME##transpose_strip##W(const __global S *p, long apart, __local float##W *to) {                        \
    const int c = 0, step = 1;                                                                                         \
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
