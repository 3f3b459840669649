// What the texts of special functions share: the type in which they compute, series, and the wider forms.
//
// REAL                       double where the device has it, for float registers too; else float.
// chebyshev(c, n, u)         sum of c[k] T_k(u), k < n, after Clenshaw. Tables are made by benchmarks/fits.py.
// WIDEN1(f), WIDEN2(f)       f for float, and for 2, 4, 8 and 16 lanes of float and double, from the scalar f of REAL.

#ifdef HAVE_DOUBLE
typedef double REAL;
#else
typedef float REAL;
#endif

#define SCALAR static __attribute__((overloadable, noinline))
#define COUNT(table) ((int)(sizeof(table) / sizeof(REAL)))
#define CHEBYSHEV(table, u) chebyshev(table, COUNT(table), u)
#define REAL_PI ((REAL)3.141592653589793)

SCALAR REAL chebyshev(__constant const REAL *c, int n, REAL u) {
  REAL b1 = (REAL)0, b2 = (REAL)0;
  for (int k = n - 1; k > 0; --k) {
    REAL b = (u + u) * b1 - b2 + c[k];
    b2 = b1;
    b1 = b;
  }
  return u * b1 - b2 + c[0];
}

#define WIDER1(f, V) INLINE V f(V x) { return (V)(f(x.lo), f(x.hi)); }
#define WIDER2(f, V) INLINE V f(V x, V y) { return (V)(f(x.lo, y.lo), f(x.hi, y.hi)); }
#define ALL_WIDER(WIDER, f, T) WIDER(f, T##2) WIDER(f, T##4) WIDER(f, T##8) WIDER(f, T##16)
#ifdef HAVE_DOUBLE
#define WIDEN1(f)                                                                                                      \
  INLINE float f(float x) { return (float)f((double)x); }                                                              \
  ALL_WIDER(WIDER1, f, float)                                                                                          \
  ALL_WIDER(WIDER1, f, double)
#define WIDEN2(f)                                                                                                      \
  INLINE float f(float x, float y) { return (float)f((double)x, (double)y); }                                          \
  ALL_WIDER(WIDER2, f, float)                                                                                          \
  ALL_WIDER(WIDER2, f, double)
#else
#define WIDEN1(f) ALL_WIDER(WIDER1, f, float)
#define WIDEN2(f) ALL_WIDER(WIDER2, f, float)
#endif
