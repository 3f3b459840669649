// The parts and the neighbours of floating point numbers, for float and double registers of any width; needs real.cl.
//
// mantissa(x), number_exponent(x)   x = mantissa * 2^exponent, |mantissa| in [1/2, 1); 0, inf and NaN are their own
//                                   mantissas, with exponent 0
// next_float32, next_float64, next_half, next_bf16 (x, y)   the number after x towards y; the last two of values in float
//                                   registers, on their own grids

// Bits as integers in the order of the numbers: negative numbers run backwards from -0.
#define NEIGHBOUR(NAME, V, I, TO_BITS, TO_VALUE, SIGN)                                                                 \
  INLINE V NAME(V x, V y) {                                                                                            \
    I bits = TO_BITS(x);                                                                                               \
    I ordered = bits & (I)(SIGN) ? -(bits & ~(I)(SIGN)) : bits;                                                        \
    ordered += y > x ? (I)1 : (I)-1;                                                                                   \
    V moved = TO_VALUE(ordered < 0 ? ((-ordered) | (I)(SIGN)) : ordered);                                              \
    moved = ordered == 0 ? copysign((V)0, x) : moved;                                                                  \
    return (x != x || y != y) ? x + y : (x == y ? y : moved);                                                          \
  }
#define HALF_BITS(v) ((int)half_bits(v))
#define HALF_VALUE(b) half_value((ushort)(b))
#define BF16_BITS(v) ((int)bf16_bits(v))
#define BF16_VALUE(b) bf16_value((ushort)(b))
NEIGHBOUR(next_float32, float, int, as_int, as_float, 0x80000000)
NEIGHBOUR(next_half, float, int, HALF_BITS, HALF_VALUE, 0x8000)
NEIGHBOUR(next_bf16, float, int, BF16_BITS, BF16_VALUE, 0x8000)

#define MANTISSA(T)                                                                                                    \
  INLINE T mantissa(T x) {                                                                                             \
    int exponent;                                                                                                      \
    return (x == (T)0 || x != x || isinf(x)) ? x : frexp(x, &exponent);                                                \
  }                                                                                                                    \
  INLINE int number_exponent(T x) {                                                                                    \
    int exponent = 0;                                                                                                  \
    if (x == (T)0 || x != x || isinf(x)) return 0;                                                                     \
    frexp(x, &exponent);                                                                                               \
    return exponent;                                                                                                   \
  }
#define EXPONENTS(V, W)                                                                                                \
  INLINE int##W number_exponent(V##W x) { return (int##W)(number_exponent(x.lo), number_exponent(x.hi)); }
#define ALL_EXPONENTS(T) EXPONENTS(T, 2) EXPONENTS(T, 4) EXPONENTS(T, 8) EXPONENTS(T, 16)
MANTISSA(float)

ALL_WIDER(WIDER2, next_float32, float)
ALL_WIDER(WIDER2, next_half, float)
ALL_WIDER(WIDER2, next_bf16, float)
ALL_WIDER(WIDER1, mantissa, float)
ALL_EXPONENTS(float)
#ifdef HAVE_DOUBLE
NEIGHBOUR(next_float64, double, long, as_long, as_double, 0x8000000000000000)
MANTISSA(double)
ALL_WIDER(WIDER2, next_float64, double)
ALL_WIDER(WIDER1, mantissa, double)
ALL_EXPONENTS(double)
#endif
