// Division that rounds down, its remainder, and integer powers, for every register type and width.
//
// floor_divide(a, b), floor_remainder(a, b)   floats; as Python's // and %, exact where a / b rounds up to an integer
// integer_power(a, b)                         wraps; a negative b gives 0 unless a is 1 or -1

#define FLOOR_DIVISION(T)                                                                                              \
  INLINE T floor_remainder(T a, T b) {                                                                                 \
    T r = fmod(a, b);                                                                                                  \
    return ((r != (T)(0)) & ((r < (T)(0)) != (b < (T)(0)))) ? r + b : r;                                               \
  }                                                                                                                    \
  INLINE T floor_divide(T a, T b) {                                                                                    \
    T quotient = a / b;                                                                                                \
    T exact = (a - floor_remainder(a, b)) / b;                                                                         \
    T whole = rint(exact);                                                                                             \
    T signed_zero = copysign((T)(0), quotient);                                                                        \
    return (b == (T)(0)) ? quotient : ((whole == (T)(0)) ? signed_zero : whole);                                       \
  }

FLOOR_DIVISION(float)
FLOOR_DIVISION(float2)
FLOOR_DIVISION(float4)
FLOOR_DIVISION(float8)
FLOOR_DIVISION(float16)
#ifdef HAVE_DOUBLE
FLOOR_DIVISION(double)
FLOOR_DIVISION(double2)
FLOOR_DIVISION(double4)
FLOOR_DIVISION(double8)
FLOOR_DIVISION(double16)
#endif

// Square and multiply over the bits of b; C's promotions of small scalars wrap again at each assignment.
#define INTEGER_POWER(T, MORE, BITS)                                                                                   \
  INLINE T integer_power(T a, T b) {                                                                                   \
    T r = (T)(1), square = a, e = b;                                                                                   \
    for (int k = 0; k < BITS; ++k) {                                                                                   \
      r = ((e & (T)(1)) != (T)(0)) ? r * square : r;                                                                   \
      square = square * square;                                                                                        \
      e = e >> (T)(1);                                                                                                 \
      if (!(MORE)) break;                                                                                              \
    }                                                                                                                  \
    T odd = ((b & (T)(1)) != (T)(0)) ? a : (T)(1);                                                                     \
    T inverse = (a == (T)(1)) ? a : ((a == (T)(-1)) ? odd : (T)(0));                                                   \
    return (b < (T)(0)) ? inverse : r;                                                                                 \
  }

#define INTEGER_POWERS(T, BITS)                                                                                        \
  INTEGER_POWER(T, e > (T)(0), BITS)                                                                                   \
  INTEGER_POWER(T##2, any(e > (T##2)(0)), BITS)                                                                        \
  INTEGER_POWER(T##4, any(e > (T##4)(0)), BITS)                                                                        \
  INTEGER_POWER(T##8, any(e > (T##8)(0)), BITS)                                                                        \
  INTEGER_POWER(T##16, any(e > (T##16)(0)), BITS)

INTEGER_POWERS(char, 7)
INTEGER_POWERS(uchar, 8)
INTEGER_POWERS(short, 15)
INTEGER_POWERS(int, 31)
INTEGER_POWERS(long, 63)

// Euclid's algorithm; 92 divisions are enough for 64 bits (neighbours in Fibonacci's series take longest).
#define EUCLID(T, MORE)                                                                                                \
  INLINE T greatest_divisor(T a, T b) {                                                                                \
    T x = (a < (T)(0)) ? (T)(-a) : a, y = (b < (T)(0)) ? (T)(-b) : b;                                                  \
    for (int k = 0; k < 92; ++k) {                                                                                     \
      if (!(MORE)) break;                                                                                              \
      T rest = x % ((y == (T)(0)) ? (T)(1) : y);                                                                       \
      x = (y == (T)(0)) ? x : y;                                                                                       \
      y = (x == y) ? rest : y;                                                                                         \
    }                                                                                                                  \
    return x;                                                                                                          \
  }                                                                                                                    \
  INLINE T least_multiple(T a, T b) {                                                                                  \
    T common = greatest_divisor(a, b);                                                                                 \
    T found = (a / ((common == (T)(0)) ? (T)(1) : common)) * b;                                                        \
    return (found < (T)(0)) ? (T)(-found) : found;                                                                     \
  }

#define EUCLIDS(T)                                                                                                     \
  EUCLID(T, y != (T)(0))                                                                                               \
  EUCLID(T##2, any(y != (T##2)(0)))                                                                                    \
  EUCLID(T##4, any(y != (T##4)(0)))                                                                                    \
  EUCLID(T##8, any(y != (T##8)(0)))                                                                                    \
  EUCLID(T##16, any(y != (T##16)(0)))

EUCLIDS(char)
EUCLIDS(uchar)
EUCLIDS(short)
EUCLIDS(int)
EUCLIDS(long)
