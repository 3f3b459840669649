// What the convolution templates share: transposing W x W elements in registers, and copies of short rows.
//
// One round of zipping register i with register i + W/2 rotates the bits (row, column) of an element's place by one; log2(W) rounds
// transpose. TRANSPOSE{W}(T, a) turns T a0 .. a{W-1} into their transpose, under the same names.

#define ZIP(T)                                                                                                         \
  INLINE T zip_low(T a, T b) {                                                                                         \
    T z;                                                                                                               \
    z.even = a.lo;                                                                                                     \
    z.odd = b.lo;                                                                                                      \
    return z;                                                                                                          \
  }                                                                                                                    \
  INLINE T zip_high(T a, T b) {                                                                                        \
    T z;                                                                                                               \
    z.even = a.hi;                                                                                                     \
    z.odd = b.hi;                                                                                                      \
    return z;                                                                                                          \
  }
ZIP(float2)
ZIP(float4)
ZIP(float8)
ZIP(float16)
#ifdef HAVE_DOUBLE
ZIP(double2)
ZIP(double4)
ZIP(double8)
#endif

#define ZIP_PAIR(T, to0, to1, x, y) T to0 = zip_low(x, y), to1 = zip_high(x, y);
#define ZIP_ROUND2(T, b, a) ZIP_PAIR(T, b##0, b##1, a##0, a##1)
#define ZIP_ROUND4(T, b, a) ZIP_PAIR(T, b##0, b##1, a##0, a##2) ZIP_PAIR(T, b##2, b##3, a##1, a##3)
#define ZIP_ROUND8(T, b, a)                                                                                            \
  ZIP_PAIR(T, b##0, b##1, a##0, a##4) ZIP_PAIR(T, b##2, b##3, a##1, a##5)                                              \
  ZIP_PAIR(T, b##4, b##5, a##2, a##6) ZIP_PAIR(T, b##6, b##7, a##3, a##7)
#define ZIP_ROUND16(T, b, a)                                                                                           \
  ZIP_PAIR(T, b##0, b##1, a##0, a##8) ZIP_PAIR(T, b##2, b##3, a##1, a##9)                                              \
  ZIP_PAIR(T, b##4, b##5, a##2, a##10) ZIP_PAIR(T, b##6, b##7, a##3, a##11)                                            \
  ZIP_PAIR(T, b##8, b##9, a##4, a##12) ZIP_PAIR(T, b##10, b##11, a##5, a##13)                                          \
  ZIP_PAIR(T, b##12, b##13, a##6, a##14) ZIP_PAIR(T, b##14, b##15, a##7, a##15)
#define ZIP_MOVE2(b, a) b##0 = a##0; b##1 = a##1;
#define ZIP_MOVE4(b, a) ZIP_MOVE2(b, a) b##2 = a##2; b##3 = a##3;
#define ZIP_MOVE8(b, a) ZIP_MOVE4(b, a) b##4 = a##4; b##5 = a##5; b##6 = a##6; b##7 = a##7;
#define ZIP_MOVE16(b, a)                                                                                               \
  ZIP_MOVE8(b, a) b##8 = a##8; b##9 = a##9; b##10 = a##10; b##11 = a##11;                                              \
  b##12 = a##12; b##13 = a##13; b##14 = a##14; b##15 = a##15;
#define TRANSPOSE2(T, a) { ZIP_ROUND2(T, z1_, a) ZIP_MOVE2(a, z1_) }
#define TRANSPOSE4(T, a) { ZIP_ROUND4(T, z1_, a) ZIP_ROUND4(T, z2_, z1_) ZIP_MOVE4(a, z2_) }
#define TRANSPOSE8(T, a)                                                                                               \
  { ZIP_ROUND8(T, z1_, a) ZIP_ROUND8(T, z2_, z1_) ZIP_ROUND8(T, z3_, z2_) ZIP_MOVE8(a, z3_) }
#define TRANSPOSE16(T, a)                                                                                              \
  { ZIP_ROUND16(T, z1_, a) ZIP_ROUND16(T, z2_, z1_) ZIP_ROUND16(T, z3_, z2_) ZIP_ROUND16(T, z4_, z3_) ZIP_MOVE16(a, z4_) }
