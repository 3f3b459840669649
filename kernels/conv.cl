// What the convolution templates share: transposing W x W elements from rows in memory to vectors in local memory.
//
// transpose{W}(p, apart, to, step)        W rows of W elements, `apart` elements from each other at p; column c goes to to[c * step].
// half_transpose{W}, bf16_transpose{W}    the same from float16 and bfloat16 storage to float.
//
// Four columns at a time: a vector holds four elements of each of rows j, j+4, j+8, …; two rounds of pairing within blocks of four
// lanes then give whole columns. The loop is kept a loop: fully unrolled, transposes were most of a kernel's compile time.

#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define PICK2(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif

#define JOIN4(p0, p1, p2, p3) (p0)
#define JOIN8(p0, p1, p2, p3) p0, p1
#define JOIN16(p0, p1, p2, p3) p0, p1, p2, p3

#ifdef PICK2
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define FIRST_4 0, 1, 4, 5
#define SECOND_4 2, 3, 6, 7
#define LOW_8 0, 8, 1, 9, 4, 12, 5, 13
#define HIGH_8 2, 10, 3, 11, 6, 14, 7, 15
#define FIRST_8 0, 1, 8, 9, 4, 5, 12, 13
#define SECOND_8 2, 3, 10, 11, 6, 7, 14, 15
#define LOW_16 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_16 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define FIRST_16 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define SECOND_16 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define TRANSPOSE_STRIP(T, W, LOAD)                                                                                    \
  const T##W a0 = (T##W)(JOIN##W(LOAD(p + c), LOAD(p + 4 * apart + c), LOAD(p + 8 * apart + c), LOAD(p + 12 * apart + c)));\
  const T##W a1 = (T##W)(JOIN##W(LOAD(p + apart + c), LOAD(p + 5 * apart + c), LOAD(p + 9 * apart + c), LOAD(p + 13 * apart + c)));\
  const T##W a2 = (T##W)(JOIN##W(LOAD(p + 2 * apart + c), LOAD(p + 6 * apart + c), LOAD(p + 10 * apart + c), LOAD(p + 14 * apart + c)));\
  const T##W a3 = (T##W)(JOIN##W(LOAD(p + 3 * apart + c), LOAD(p + 7 * apart + c), LOAD(p + 11 * apart + c), LOAD(p + 15 * apart + c)));\
  const T##W b0 = PICK2(a0, a1, LOW_##W), b1 = PICK2(a0, a1, HIGH_##W);                                                \
  const T##W b2 = PICK2(a2, a3, LOW_##W), b3 = PICK2(a2, a3, HIGH_##W);                                                \
  to[c * step] = PICK2(b0, b2, FIRST_##W);                                                                             \
  to[(c + 1) * step] = PICK2(b0, b2, SECOND_##W);                                                                      \
  to[(c + 2) * step] = PICK2(b1, b3, FIRST_##W);                                                                       \
  to[(c + 3) * step] = PICK2(b1, b3, SECOND_##W);
#else
#define TRANSPOSE_STRIP(T, W, LOAD)                                                                                    \
  for (int row = 0; row < W; row++) {                                                                                  \
    const T##4 v = LOAD(p + row * apart + c);                                                                          \
    ((__local T *)(to + c * step))[row] = v.s0;                                                                        \
    ((__local T *)(to + (c + 1) * step))[row] = v.s1;                                                                  \
    ((__local T *)(to + (c + 2) * step))[row] = v.s2;                                                                  \
    ((__local T *)(to + (c + 3) * step))[row] = v.s3;                                                                  \
  }
#endif

#define TRANSPOSE(NAME, SPACE, S, T, W, LOAD)                                                                          \
  INLINE void NAME##W(const SPACE S *p, long apart, __local T##W *to, int step) {                                      \
    _Pragma("unroll 1") for (int c = 0; c < W; c += 4) { TRANSPOSE_STRIP(T, W, LOAD) }                                 \
  }
#define TRANSPOSE_ALL(NAME, SPACE, S, T, LOAD)                                                                         \
  TRANSPOSE(NAME, SPACE, S, T, 4, LOAD) TRANSPOSE(NAME, SPACE, S, T, 8, LOAD)
#define TRANSPOSE_PAIR(NAME, SPACE, S, T, LOAD)                                                                        \
  INLINE void NAME##2(const SPACE S *p, long apart, __local T##2 *to, int step) {                                      \
    to[0] = (T##2)(LOAD(p), LOAD(p + apart));                                                                          \
    to[step] = (T##2)(LOAD(p + 1), LOAD(p + apart + 1));                                                               \
  }
TRANSPOSE_ALL(transpose, __global, float, float, vec_load4)
TRANSPOSE_ALL(transpose, __local, float, float, vec_load4)
TRANSPOSE_ALL(half_transpose, __global, ushort, float, half_load4)
TRANSPOSE_ALL(bf16_transpose, __global, ushort, float, bf16_load4)
TRANSPOSE(transpose, __global, float, float, 16, vec_load4)
TRANSPOSE(transpose, __local, float, float, 16, vec_load4)
TRANSPOSE(half_transpose, __global, ushort, float, 16, half_load4)
TRANSPOSE(bf16_transpose, __global, ushort, float, 16, bf16_load4)
TRANSPOSE_PAIR(transpose, __global, float, float, vec_load1)
TRANSPOSE_PAIR(transpose, __local, float, float, vec_load1)
TRANSPOSE_PAIR(half_transpose, __global, ushort, float, half_load1)
TRANSPOSE_PAIR(bf16_transpose, __global, ushort, float, bf16_load1)
#ifdef HAVE_DOUBLE
TRANSPOSE_ALL(transpose, __global, double, double, vec_load4)
TRANSPOSE_ALL(transpose, __local, double, double, vec_load4)
TRANSPOSE_PAIR(transpose, __global, double, double, vec_load1)
TRANSPOSE_PAIR(transpose, __local, double, double, vec_load1)
#endif
