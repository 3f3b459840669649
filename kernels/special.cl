// Digamma, polygamma and Hurwitz' zeta function, for float and double registers of any width; digamma of float is in
// gamma.cl where there is double.
//
// s_digamma(x)          recurrence up to x >= 10, then the asymptotic series (Abramowitz and Stegun 6.3.18); reflection below 0
// s_zeta(s, x)          sum over k of (x + k)^-s by Euler and Maclaurin (Abramowitz and Stegun 23.2.7)
// s_polygamma(n, x)     (-1)^(n+1) n! zeta(n + 1, x), n >= 1; trigamma is reflected below 0
//
// Constants are ratios of integers, so one text serves float on devices without double.

#define SPECIAL_SCALAR(T)                                                                                              \
  static T __attribute__((overloadable)) s_digamma(T x) {                                                              \
    const T one = (T)1;                                                                                                \
    T shift = (T)0;                                                                                                    \
    if (x == (T)0) return copysign((T)INFINITY, -x);                                                                   \
    if (x < (T)0) {                                                                                                    \
      if (x == floor(x)) return (T)NAN;                                                                                \
      shift = -PI_OF(T) / tanpi(x);                                                                             \
      x = one - x;                                                                                                     \
    }                                                                                                                  \
    for (int k = 0; k < 10 && x < (T)10; ++k) {                                                                        \
      shift -= one / x;                                                                                                \
      x += one;                                                                                                        \
    }                                                                                                                  \
    T z = one / (x * x);                                                                                               \
    T series = z * (one / (T)12 -                                                                                      \
                    z * (one / (T)120 -                                                                                \
                         z * (one / (T)252 -                                                                           \
                              z * (one / (T)240 -                                                                      \
                                   z * (one / (T)132 - z * ((T)691 / (T)32760 - z * (one / (T)12)))))));               \
    return shift + log(x) - one / (x + x) - series;                                                                    \
  }                                                                                                                    \
  static T __attribute__((overloadable)) s_zeta(T s, T x) {                                                            \
    const T one = (T)1;                                                                                                \
    if (s == one) return (T)INFINITY;                                                                                  \
    if (s < one) return (T)NAN;                                                                                        \
    if (x <= (T)0) {                                                                                                   \
      if (x == floor(x)) return (T)INFINITY;                                                                           \
      if (s != floor(s)) return (T)NAN;                                                                                \
    }                                                                                                                  \
    T sum = (T)0;                                                                                                      \
    for (int k = 0; k < 1024 && (k < 9 || x < (T)9); ++k) {                                                            \
      T term = pow(x, -s);                                                                                             \
      sum += term;                                                                                                     \
      x += one;                                                                                                        \
    }                                                                                                                  \
    T power = pow(x, -s), z = one / (x * x);                                                                           \
    sum += power * x / (s - one) + power / (T)2;                                                                       \
    T c = power / x * s; /* s (s+1) … (s+2j-2) x^(1-s-2j), from j = 1 */                                               \
    sum += c / (T)12;                                                                                                  \
    c *= (s + (T)1) * (s + (T)2) * z;                                                                                  \
    sum -= c / (T)720;                                                                                                 \
    c *= (s + (T)3) * (s + (T)4) * z;                                                                                  \
    sum += c / (T)30240;                                                                                               \
    c *= (s + (T)5) * (s + (T)6) * z;                                                                                  \
    sum -= c / (T)1209600;                                                                                             \
    c *= (s + (T)7) * (s + (T)8) * z;                                                                                  \
    sum += c / (T)47900160;                                                                                            \
    c *= (s + (T)9) * (s + (T)10) * z;                                                                                 \
    sum -= c * ((T)691 / (T)1307674) / (T)1000000;                                                                    \
    c *= (s + (T)11) * (s + (T)12) * z;                                                                                \
    sum += c / (T)747242 / (T)100000;                                                                                  \
    return sum;                                                                                                        \
  }                                                                                                                    \
  static T __attribute__((overloadable)) s_polygamma(T n, T x) {                                                       \
    if (n == (T)1 && x < (T)0 && x != floor(x)) {                                                                      \
      T wave = PI_OF(T) / sinpi(x);                                                                             \
      return wave * wave - s_zeta((T)2, (T)1 - x);                                                                     \
    }                                                                                                                  \
    T factorial = (T)1, sign = (T)-1;                                                                                  \
    for (T k = (T)1; k <= n && k < (T)200; k += (T)1) {                                                                \
      factorial *= k;                                                                                                  \
      sign = -sign;                                                                                                    \
    }                                                                                                                  \
    return sign * factorial * s_zeta(n + (T)1, x);                                                                     \
  }

#define SPECIAL_WIDER(V)                                                                                               \
  INLINE V s_zeta(V s, V x) { return (V)(s_zeta(s.lo, x.lo), s_zeta(s.hi, x.hi)); }                                    \
  INLINE V s_polygamma(V n, V x) { return (V)(s_polygamma(n.lo, x.lo), s_polygamma(n.hi, x.hi)); }

#define SPECIAL_WIDER_DIGAMMA(V)                                                                                       \
  SPECIAL_WIDER(V)                                                                                                     \
  INLINE V s_digamma(V x) { return (V)(s_digamma(x.lo), s_digamma(x.hi)); }

#define PI_OF(T) acos((T)-1)

#define SPECIAL(T)                                                                                                     \
  SPECIAL_SCALAR(T)                                                                                                    \
  SPECIAL_WIDER_DIGAMMA(T##2)                                                                                          \
  SPECIAL_WIDER_DIGAMMA(T##4)                                                                                          \
  SPECIAL_WIDER_DIGAMMA(T##8)                                                                                          \
  SPECIAL_WIDER_DIGAMMA(T##16)

#ifdef HAVE_DOUBLE
// float in double: float has no right digit left where terms cancel
SPECIAL(double)
static float __attribute__((overloadable)) s_zeta(float s, float x) { return (float)s_zeta((double)s, (double)x); }
static float __attribute__((overloadable)) s_polygamma(float n, float x) {
  return (float)s_polygamma((double)n, (double)x);
}
SPECIAL_WIDER(float2)
SPECIAL_WIDER(float4)
SPECIAL_WIDER(float8)
SPECIAL_WIDER(float16)
#else
SPECIAL(float)
#endif
