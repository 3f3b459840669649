// Orthogonal polynomials of degree n, for float and double registers of any width; needs real.cl.
//
// s_chebyshev_t, _u, _v, _w (x, n)   first to fourth kind: recurrence up to degree 8, beyond it cosines of multiples of acos x,
//                                    outside [-1, 1] of acosh |x|
// s_hermite_h, s_hermite_he, s_laguerre_l, s_legendre_p (x, n)   recurrences
//
// n is a number whose fraction is dropped; a negative degree gives 0.

#define DEGREE(n) trunc(n)

// The recurrence p_k = a_k p_(k-1) - b_k p_(k-2), written out by STEP, from p_0 = 1 and p_1 = FIRST.
#define RECURRENCE(NAME, FIRST, STEP)                                                                                  \
  SCALAR REAL NAME(REAL x, REAL n) {                                                                                   \
    n = DEGREE(n);                                                                                                     \
    if (n != n) return n;                                                                                              \
    if (n < (REAL)0) return (REAL)0;                                                                                   \
    REAL before = (REAL)1, last = FIRST;                                                                               \
    if (n == (REAL)0) return before;                                                                                   \
    for (REAL k = (REAL)2; k <= n && last == last; k += (REAL)1) {                                                     \
      REAL next = STEP;                                                                                                \
      before = last;                                                                                                   \
      last = next;                                                                                                     \
    }                                                                                                                  \
    return last;                                                                                                       \
  }

RECURRENCE(low_t, x, (x + x) * last - before)
RECURRENCE(low_u, x + x, (x + x) * last - before)
RECURRENCE(low_v, x + x - (REAL)1, (x + x) * last - before)
RECURRENCE(low_w, x + x + (REAL)1, (x + x) * last - before)
RECURRENCE(s_hermite_h, x + x, (REAL)2 * (x * last - (k - (REAL)1) * before))
RECURRENCE(s_hermite_he, x, x * last - (k - (REAL)1) * before)
RECURRENCE(s_laguerre_l, (REAL)1 - x, (((k + k - (REAL)1) - x) * last - (k - (REAL)1) * before) / k)
RECURRENCE(s_legendre_p, x, ((k + k - (REAL)1) * x * last - (k - (REAL)1) * before) / k)

// -1 for odd degrees where x is negative
SCALAR REAL parity(REAL x, REAL n) { return x < (REAL)0 && fmod(n, (REAL)2) != (REAL)0 ? (REAL)-1 : (REAL)1; }

SCALAR REAL s_chebyshev_t(REAL x, REAL n) {
  n = DEGREE(n);
  REAL size = fabs(x);
  if (!(n > (REAL)8) || x != x) return x != x && n > (REAL)0 ? x : low_t(x, n);
  if (size == (REAL)1) return parity(x, n);
  return size < (REAL)1 ? cos(n * acos(x)) : parity(x, n) * cosh(n * acosh(size));
}
SCALAR REAL s_chebyshev_u(REAL x, REAL n) {
  n = DEGREE(n);
  REAL size = fabs(x), m = n + (REAL)1;
  if (!(n > (REAL)8) || x != x) return x != x && n > (REAL)0 ? x : low_u(x, n);
  if (size == (REAL)1) return parity(x, n) * m;
  if (isinf(x)) return parity(x, n) * size;
  REAL angle = size < (REAL)1 ? acos(x) : acosh(size);
  return size < (REAL)1 ? sin(m * angle) / sin(angle) : parity(x, n) * (sinh(m * angle) / sinh(angle));
}
// V_n(x) for x > -1 beside its mirror image W_n(-x) = (-1)^n V_n(x)
SCALAR REAL high_v(REAL x, REAL n) {
  REAL m = n + (REAL)0.5;
  if (x == (REAL)1) return (REAL)1;
  if (x == (REAL)-1) return fmod(n, (REAL)2) != (REAL)0 ? -(n + n + (REAL)1) : n + n + (REAL)1;
  if (isinf(x)) return parity(x, n) * fabs(x);
  if (fabs(x) < (REAL)1) {
    REAL angle = acos(x);
    return cos(m * angle) / cos(angle / (REAL)2);
  }
  REAL angle = acosh(fabs(x));
  if (x > (REAL)0) return cosh(m * angle) / cosh(angle / (REAL)2);
  return parity(x, n) * (sinh(m * angle) / sinh(angle / (REAL)2));
}
SCALAR REAL s_chebyshev_v(REAL x, REAL n) {
  n = DEGREE(n);
  if (!(n > (REAL)8) || x != x) return x != x && n > (REAL)0 ? x : low_v(x, n);
  return high_v(x, n);
}
SCALAR REAL s_chebyshev_w(REAL x, REAL n) {
  n = DEGREE(n);
  if (!(n > (REAL)8) || x != x) return x != x && n > (REAL)0 ? x : low_w(x, n);
  return fmod(n, (REAL)2) != (REAL)0 ? -high_v(-x, n) : high_v(-x, n);
}

WIDEN2(s_chebyshev_t)
WIDEN2(s_chebyshev_u)
WIDEN2(s_chebyshev_v)
WIDEN2(s_chebyshev_w)
WIDEN2(s_hermite_h)
WIDEN2(s_hermite_he)
WIDEN2(s_laguerre_l)
WIDEN2(s_legendre_p)
