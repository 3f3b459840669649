// log |gamma|, digamma and erfc, for float and double registers of any width. After math.cl and special.cl.
//
// m_lgamma(x)   (t P12(t) - log w) for z in [1/2, 5/2), t = z - 2, else Stirling's series at z + k >= 8; z = x or 1 - x
// s_digamma(x)  the derivative of the same series, the shifts summed up as one fraction
// m_erfc(x)     exp(-x^2) P10((x - 3) / (x + 3)) / (1 + 2 x), x^2 in two parts; 2 minus that below 0     2e-9
//               1 - erf(x) for |x| < 1/2
//
// The first two, in float, are computed in double, in vectors: near their zeros, where terms of size 1 and more cancel,
// float has no right digit left. Without double, and for double itself, lgamma and erfc are the driver's.

#define GAMMA_DOUBLE(F, D, L, AS_D, AS_L, WIDE, NARROW)                                                                \
  /* log of a positive, finite, not denormal number (Sun's fdlibm) */                                                  \
  INLINE D math_wide_log(D x) {                                                                                        \
    L bits = AS_L(x) - 0x3fe6a09e667f3bcdL;                                                                            \
    D e = AS_D(((bits + 0x3ff0000000000000L) >> 52) | 0x4330000000000000L) - 4503599627371519.0;                       \
    D f = AS_D((bits & 0xfffffffffffffL) + 0x3fe6a09e667f3bcdL) - 1.0;                                                 \
    D s = f / (2.0 + f);                                                                                               \
    D z = s * s;                                                                                                       \
    D p = z * 1.479819860511658591e-01 + 1.531383769920937332e-01;                                                     \
    p = p * z + 1.818357216161805012e-01;                                                                              \
    p = p * z + 2.222219843214978396e-01;                                                                              \
    p = p * z + 2.857142874366239149e-01;                                                                              \
    p = p * z + 3.999999999940941908e-01;                                                                              \
    p = p * z + 6.666666666666735130e-01;                                                                              \
    D h = 0.5 * f * f;                                                                                                 \
    return e * 6.93147180369123816490e-01 - ((h - (s * (h + p * z) + e * 1.90821492927058770002e-10)) - f);            \
  }                                                                                                                    \
  /* x less the nearest whole number; whole numbers beyond 2^24 give 0 */                                              \
  INLINE D math_wide_part(D x) {                                                                                       \
    D c = MATH_SELECT(D, x < -16777216.0, 0.0, x);                                                                     \
    c = MATH_SELECT(D, x > 1.0, 0.0, c);                                                                               \
    return c - ((c + 6755399441055744.0) - 6755399441055744.0);                                                        \
  }                                                                                                                    \
  INLINE D math_wide_sinpi(D r) {                                                                                      \
    D z = r * r;                                                                                                       \
    D p = z * -2.29484289972698731e-08 + 7.95205400147551278e-07;                                                      \
    p = p * z - 2.19153534478302158e-05;                                                                               \
    p = p * z + 4.66302805767612564e-04;                                                                               \
    p = p * z - 7.37043094571435078e-03;                                                                               \
    p = p * z + 8.21458866111282288e-02;                                                                               \
    p = p * z - 5.99264529320792077e-01;                                                                               \
    p = p * z + 2.55016403987734544e+00;                                                                               \
    p = p * z - 5.16771278004997003e+00;                                                                               \
    return p * z * r + r * 3.14159265358979324;                                                                        \
  }                                                                                                                    \
  INLINE D math_wide_cospi(D r) {                                                                                      \
    D z = r * r;                                                                                                       \
    D p = z * 3.60473079746250093e-09 - 1.38789524622137721e-07;                                                       \
    p = p * z + 4.30306958703294701e-06;                                                                               \
    p = p * z - 1.04638104924845707e-04;                                                                               \
    p = p * z + 1.92957430940392305e-03;                                                                               \
    p = p * z - 2.58068913900140600e-02;                                                                               \
    p = p * z + 2.35330630358893205e-01;                                                                               \
    p = p * z - 1.33526276885458950e+00;                                                                               \
    p = p * z + 4.05871212641676822e+00;                                                                               \
    p = p * z - 4.93480220054467931e+00;                                                                               \
    return p * z + 1.0;                                                                                                \
  }                                                                                                                    \
  INLINE F m_lgamma(F given) {                                                                                         \
    D x = WIDE(given);                                                                                                 \
    D z = MATH_SELECT(D, x < 0.5, 1.0 - x, x);                                                                         \
    D a = MATH_SELECT(D, z < 2.5, 8.0, z);                                                                             \
    D w = MATH_SELECT(D, z < 1.5, z, 1.0);                                                                             \
    for (int k = 0; k < 6; ++k) {                                                                                      \
      w = MATH_SELECT(D, a < 8.0, w * a, w);                                                                           \
      a = MATH_SELECT(D, a < 8.0, a + 1.0, a);                                                                         \
    }                                                                                                                  \
    D t = z - MATH_SELECT(D, z < 1.5, 1.0, 2.0);                                                                       \
    D p = t * -1.22140695566486102e-05 + 2.44672303324477980e-05;                                                      \
    p = p * t - 4.36366790950160066e-05;                                                                               \
    p = p * t + 9.81823084913457933e-05;                                                                               \
    p = p * t - 2.23439977864003936e-04;                                                                               \
    p = p * t + 5.09862741448791068e-04;                                                                               \
    p = p * t - 1.19272209329235324e-03;                                                                               \
    p = p * t + 2.89049623309361840e-03;                                                                               \
    p = p * t - 7.38555270842541217e-03;                                                                               \
    p = p * t + 2.05808088656859421e-02;                                                                               \
    p = p * t - 6.73523010198897598e-02;                                                                               \
    p = p * t + 3.22467033420251625e-01;                                                                               \
    p = p * t + 4.22784335098358777e-01;                                                                               \
    D v = 1.0 / a;                                                                                                     \
    D u = v * v;                                                                                                       \
    D q = u * 6.41025641025641026e-03 - 1.91752691752691753e-03;                                                       \
    q = q * u + 8.41750841750841751e-04;                                                                               \
    q = q * u - 5.95238095238095238e-04;                                                                               \
    q = q * u + 7.93650793650793651e-04;                                                                               \
    q = q * u - 2.77777777777777778e-03;                                                                               \
    q = q * u + 8.33333333333333333e-02;                                                                               \
    D far = (a - 0.5) * math_wide_log(a) - a + 9.18938533204672742e-01 + q * v;                                        \
    D y = MATH_SELECT(D, z < 2.5, p * t, far);                                                                         \
    D s = math_wide_sinpi(math_wide_part(x));                                                                          \
    s = MATH_SELECT(D, s < 0.0, -s, s);                                                                                \
    D over = MATH_SELECT(D, x < 0.5, 3.14159265358979324 / MATH_SELECT(D, s == 0.0, 1.0, s), 1.0);                     \
    D l = math_wide_log(MATH_SELECT(D, x < 0.5, w * over, w));                                                         \
    y = MATH_SELECT(D, x < 0.5, l - y, y - l);                                                                         \
    y = MATH_SELECT(D, x < 0.5 && s == 0.0, INFINITY, y);                                                              \
    y = MATH_SELECT(D, x == INFINITY || x == -INFINITY, INFINITY, y);                                                  \
    return NARROW(MATH_SELECT(D, x != x, x, y));                                                                       \
  }                                                                                                                    \
  INLINE F s_digamma(F given) {                                                                                        \
    D x = WIDE(given);                                                                                                 \
    D a = MATH_SELECT(D, x < 0.5, 1.0 - x, x);                                                                         \
    D over = a * 0.0; /* NaN stays */                                                                                  \
    D under = over + 1.0;                                                                                              \
    for (int k = 0; k < 8; ++k) { /* over / under: the sum of 1 / a */                                                 \
      over = MATH_SELECT(D, a < 8.0, over * a + under, over);                                                          \
      under = MATH_SELECT(D, a < 8.0, under * a, under);                                                               \
      a = MATH_SELECT(D, a < 8.0, a + 1.0, a);                                                                         \
    }                                                                                                                  \
    D v = 1.0 / a;                                                                                                     \
    D u = v * v;                                                                                                       \
    D q = u * 8.33333333333333333e-02 - 2.10927960927960928e-02;                                                       \
    q = q * u + 7.57575757575757576e-03;                                                                               \
    q = q * u - 4.16666666666666667e-03;                                                                               \
    q = q * u + 3.96825396825396825e-03;                                                                               \
    q = q * u - 8.33333333333333333e-03;                                                                               \
    q = q * u + 8.33333333333333333e-02;                                                                               \
    D y = math_wide_log(a) - 0.5 * v - q * u - over / under;                                                           \
    D r = math_wide_part(x);                                                                                           \
    D s = math_wide_sinpi(r);                                                                                          \
    D c = math_wide_cospi(r) * 3.14159265358979324;                                                                    \
    D back = y - c / MATH_SELECT(D, s == 0.0, 1.0, s);                                                                 \
    y = MATH_SELECT(D, x < 0.5, back, y);                                                                              \
    y = MATH_SELECT(D, x < 0.0 && s == 0.0, NAN, y);                                                                   \
    y = MATH_SELECT(D, x == 0.0, -1.0 / x, y);                                                                         \
    return NARROW(MATH_SELECT(D, x == INFINITY || x != x, x, y));                                                      \
  }

#ifdef HAVE_DOUBLE
GAMMA_DOUBLE(float, double, long, as_double, as_long, MATH_WIDE, MATH_NARROW)
GAMMA_DOUBLE(float2, double2, long2, as_double2, as_long2, MATH_WIDE2, MATH_NARROW2)
GAMMA_DOUBLE(float4, double4, long4, as_double4, as_long4, MATH_WIDE4, MATH_NARROW4)
GAMMA_DOUBLE(float8, double8, long8, as_double8, as_long8, MATH_WIDE8, MATH_NARROW8)
GAMMA_DOUBLE(float16, double16, long16, as_double16, as_long16, MATH_WIDE16, MATH_NARROW16)
MATH_BUILTIN1(double, m_lgamma, lgamma)
MATH_BUILTIN1(double2, m_lgamma, lgamma)
MATH_BUILTIN1(double4, m_lgamma, lgamma)
MATH_BUILTIN1(double8, m_lgamma, lgamma)
MATH_BUILTIN1(double16, m_lgamma, lgamma)
MATH_BUILTIN1(double, m_erfc, erfc)
MATH_BUILTIN1(double2, m_erfc, erfc)
MATH_BUILTIN1(double4, m_erfc, erfc)
MATH_BUILTIN1(double8, m_erfc, erfc)
MATH_BUILTIN1(double16, m_erfc, erfc)
#else
MATH_BUILTIN1(float, m_lgamma, lgamma)
MATH_BUILTIN1(float2, m_lgamma, lgamma)
MATH_BUILTIN1(float4, m_lgamma, lgamma)
MATH_BUILTIN1(float8, m_lgamma, lgamma)
MATH_BUILTIN1(float16, m_lgamma, lgamma)
#endif

#define GAMMA_ERFC(F, I, AS_F, AS_I)                                                                                   \
  INLINE F m_erfc(F x) {                                                                                               \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    a = MATH_SELECT(F, a > 10.5f, 10.5f, a);                                                                           \
    F h = AS_F(AS_I(a) & -4096); /* 12 bits, whose square is exact */                                                  \
    F up = -h * h;                                                                                                     \
    F low = (h - a) * (h + a);                                                                                         \
    F shifted = (up + low) * 1.44269504e+00f + 12582912.0f;                                                            \
    F n = shifted - 12582912.0f;                                                                                       \
    F r = ((up - n * 6.93359375e-01f) - n * -2.12194440e-04f) + low;                                                   \
    F e = (math_exp_rest(r) * r + 1.0f) * r; /* less 1: one rounding fewer */                                          \
    F q = (a - 3.0f) / (a + 3.0f);                                                                                     \
    F p = q * -2.634269323e-04f - 7.655052177e-04f;                                                                    \
    p = p * q + 2.009056800e-03f;                                                                                      \
    p = p * q + 2.563029343e-03f;                                                                                      \
    p = p * q - 2.380249112e-02f;                                                                                      \
    p = p * q + 6.829580507e-02f;                                                                                      \
    p = p * q - 1.192700599e-01f;                                                                                      \
    p = p * q + 1.296464972e-01f;                                                                                      \
    p = p * q - 4.756245301e-02f;                                                                                      \
    p = p * q - 1.356211432e-01f;                                                                                      \
    p = p * q + 1.253008060e+00f;                                                                                      \
    p = p / (a + a + 1.0f);                                                                                            \
    F y = math_scale(p * e + p, AS_I(shifted));                                                                        \
    y = MATH_SELECT(F, x < 0.0f, 2.0f - y, y);                                                                         \
    y = MATH_SELECT(F, a < 0.5f, 1.0f - math_erf_near(x), y);                                                          \
    return MATH_SELECT(F, x != x, x, y);                                                                               \
  }

#if defined(CLTORCH_PRECISE) && defined(HAVE_DOUBLE)
MATH_PRECISE1(float, m_erfc, erfc, MATH_WIDE, MATH_NARROW)
MATH_PRECISE1(float2, m_erfc, erfc, MATH_WIDE2, MATH_NARROW2)
MATH_PRECISE1(float4, m_erfc, erfc, MATH_WIDE4, MATH_NARROW4)
MATH_PRECISE1(float8, m_erfc, erfc, MATH_WIDE8, MATH_NARROW8)
MATH_PRECISE1(float16, m_erfc, erfc, MATH_WIDE16, MATH_NARROW16)
#elif defined(CLTORCH_PRECISE)
MATH_BUILTIN1(float, m_erfc, erfc)
MATH_BUILTIN1(float2, m_erfc, erfc)
MATH_BUILTIN1(float4, m_erfc, erfc)
MATH_BUILTIN1(float8, m_erfc, erfc)
MATH_BUILTIN1(float16, m_erfc, erfc)
#else
GAMMA_ERFC(float, int, as_float, as_int)
GAMMA_ERFC(float2, int2, as_float2, as_int2)
GAMMA_ERFC(float4, int4, as_float4, as_int4)
GAMMA_ERFC(float8, int8, as_float8, as_int8)
GAMMA_ERFC(float16, int16, as_float16, as_int16)
#endif
