// Inverse trigonometric and hyperbolic functions and hypot, m_*, for float and double in every width. After math.cl.
//
// float: own code, as in math.cl; double: the driver's. With CLTORCH_PRECISE float goes through double where there is one.
//
// Fits (relative error of the exact approximation):
//   atan    t + t^3 P3(t^2), |t| <= tan(pi / 8)     2e-8
//   asin    x + x^3 P4(x^2), |x| <= 1 / 2           5e-9

#define INVERSE_BUILTINS(T)                                                                                            \
  MATH_BUILTIN1(T, m_asin, asin)                                                                                       \
  MATH_BUILTIN1(T, m_acos, acos)                                                                                       \
  MATH_BUILTIN1(T, m_atan, atan)                                                                                       \
  MATH_BUILTIN1(T, m_asinh, asinh)                                                                                     \
  MATH_BUILTIN1(T, m_acosh, acosh)                                                                                     \
  MATH_BUILTIN1(T, m_atanh, atanh)                                                                                     \
  MATH_BUILTIN2(T, m_atan2, atan2)                                                                                     \
  MATH_BUILTIN2(T, m_hypot, hypot)

#define INVERSE_PRECISE(F, WIDE, NARROW)                                                                               \
  MATH_PRECISE1(F, m_asin, asin, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_acos, acos, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_atan, atan, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_asinh, asinh, WIDE, NARROW)                                                                       \
  MATH_PRECISE1(F, m_acosh, acosh, WIDE, NARROW)                                                                       \
  MATH_PRECISE1(F, m_atanh, atanh, WIDE, NARROW)                                                                       \
  INLINE F m_atan2(F y, F x) { return NARROW(atan2(WIDE(y), WIDE(x))); }                                               \
  INLINE F m_hypot(F x, F y) { return NARROW(hypot(WIDE(x), WIDE(y))); }

#define INVERSE_FLOAT(F, I, AS_F, AS_I)                                                                                \
  /* atan(t) - t for |t| <= tan(pi / 8) */                                                                             \
  INLINE F math_atan_rest(F t) {                                                                                       \
    F z = t * t;                                                                                                       \
    F p = z * 8.069702991e-02f - 1.388318403e-01f;                                                                     \
    p = p * z + 1.997829388e-01f;                                                                                      \
    p = p * z - 3.333296747e-01f;                                                                                      \
    return p * (z * t);                                                                                                \
  }                                                                                                                    \
  INLINE F m_atan(F x) {                                                                                               \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F over = MATH_SELECT(F, a > 0.4142135624f, a - 1.0f, a);                                                           \
    F under = MATH_SELECT(F, a > 0.4142135624f, a + 1.0f, 1.0f);                                                       \
    over = MATH_SELECT(F, a > 2.414213562f, -1.0f, over);                                                              \
    under = MATH_SELECT(F, a > 2.414213562f, a, under);                                                                \
    F t = over / under;                                                                                                \
    /* pi/4 and pi/2 in two parts */                                                                                   \
    F up = MATH_SELECT(F, a > 0.4142135624f, 7.853981853e-01f, 0.0f);                                                  \
    up = MATH_SELECT(F, a > 2.414213562f, 1.570796371e+00f, up);                                                       \
    return math_signed((math_atan_rest(t) + up * -2.782754e-08f + t) + up, x);                                         \
  }                                                                                                                    \
  /* the smaller side over the larger one, its angle, then the octant */                                               \
  INLINE F m_atan2(F y, F x) {                                                                                         \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F b = AS_F(AS_I(y) & 0x7fffffff);                                                                                  \
    F large = MATH_SELECT(F, b > a, b, a);                                                                             \
    F less = MATH_SELECT(F, b > a, a, b);                                                                              \
    less = MATH_SELECT(F, large == INFINITY, MATH_SELECT(F, less == INFINITY, 1.0f, 0.0f), less);                      \
    large = MATH_SELECT(F, large == INFINITY || large == 0.0f, 1.0f, large);                                           \
    F scale = MATH_SELECT(F, large > 1e38f, 0.25f, 1.0f);                                                              \
    large *= scale;                                                                                                    \
    less *= scale;                                                                                                     \
    F far = MATH_SELECT(F, less > large * 0.4142135624f, 1.0f, 0.0f); /* beyond pi/8: the angle's distance from pi/4 */\
    F t = (less - large * far) / (large + less * far);                                                                 \
    F sign = MATH_SELECT(F, b > a, -1.0f, 1.0f);                                                                       \
    F quarters = MATH_SELECT(F, b > a, 2.0f - far, far);                                                               \
    sign = MATH_SELECT(F, AS_I(x) < 0, -sign, sign);                                                                   \
    quarters = MATH_SELECT(F, AS_I(x) < 0, 4.0f - quarters, quarters);                                                 \
    /* quarters of pi in parts of 22 and 24 bits */                                                                    \
    F r = (math_atan_rest(t) * sign + quarters * -8.146034e-08f + t * sign);                                           \
    r = r + quarters * 7.853982449e-01f;                                                                               \
    r = math_signed(r, y);                                                                                             \
    return MATH_SELECT(F, x != x || y != y, x + y, r);                                                                 \
  }                                                                                                                    \
  /* (asin(s) - s) / s for s^2 = z <= 1/4 */                                                                           \
  INLINE F math_asin_rest(F z) {                                                                                       \
    F p = z * 4.214609876e-02f + 2.419480106e-02f;                                                                     \
    p = p * z + 4.546625846e-02f;                                                                                      \
    p = p * z + 7.495343619e-02f;                                                                                      \
    p = p * z + 1.666675074e-01f;                                                                                      \
    return p * z;                                                                                                      \
  }                                                                                                                    \
  /* beyond 1/2: asin(x) = pi/2 - 2 asin(sqrt((1 - x) / 2)) */                                                         \
  INLINE F m_asin(F x) {                                                                                               \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F z = MATH_SELECT(F, a > 0.5f, 0.5f - a * 0.5f, a * a);                                                            \
    F s = MATH_SELECT(F, a > 0.5f, sqrt(z), a);                                                                        \
    F rest = math_asin_rest(z) * s;                                                                                    \
    F far = 1.570796371e+00f - (2.0f * s + (2.0f * rest + 4.371139e-08f));                                             \
    return math_signed(MATH_SELECT(F, a > 0.5f, far, rest + s), x);                                                    \
  }                                                                                                                    \
  INLINE F m_acos(F x) {                                                                                               \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F z = MATH_SELECT(F, a > 0.5f, 0.5f - a * 0.5f, a * a);                                                            \
    F s = MATH_SELECT(F, a > 0.5f, sqrt(z), x);                                                                        \
    F rest = math_asin_rest(z) * s;                                                                                    \
    F near = 1.570796371e+00f - (s + (rest + 4.371139e-08f));                                                          \
    F twice = 2.0f * (rest + s);                                                                                       \
    F far = MATH_SELECT(F, x < 0.0f, 3.141592741e+00f - (2.0f * s + (2.0f * rest + 8.742278e-08f)), twice);            \
    return MATH_SELECT(F, a > 0.5f, far, near);                                                                        \
  }                                                                                                                    \
  INLINE F m_asinh(F x) {                                                                                              \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F c = MATH_SELECT(F, a > 1e9f, 1.0f, a);                                                                           \
    F z = c * c;                                                                                                       \
    F u = z / (1.0f + sqrt(z + 1.0f)) + c;                                                                             \
    F y = m_log1p(MATH_SELECT(F, a > 1e9f, a, u));                                                                     \
    return math_signed(MATH_SELECT(F, a > 1e9f, y + 6.931471806e-01f, y), x);                                          \
  }                                                                                                                    \
  INLINE F m_acosh(F x) {                                                                                              \
    F t = MATH_SELECT(F, x > 1e9f, 1.0f, x - 1.0f);                                                                    \
    F u = t + sqrt(t * t + 2.0f * t);                                                                                  \
    F y = m_log1p(MATH_SELECT(F, x > 1e9f, x, u));                                                                     \
    y = MATH_SELECT(F, x > 1e9f, y + 6.931471806e-01f, y);                                                             \
    return MATH_SELECT(F, x < 1.0f, NAN, y);                                                                           \
  }                                                                                                                    \
  INLINE F m_atanh(F x) {                                                                                              \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F y = 0.5f * m_log1p((a + a) / (1.0f - a));                                                                        \
    return math_signed(MATH_SELECT(F, a < 1e-4f, a, y), x);                                                            \
  }                                                                                                                    \
  INLINE F m_hypot(F x, F y) {                                                                                         \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F b = AS_F(AS_I(y) & 0x7fffffff);                                                                                  \
    F large = MATH_SELECT(F, b > a, b, a);                                                                             \
    F scale = MATH_SELECT(F, large > 1e18f, 2.710505431e-20f, 1.0f); /* 2^-65 */                                       \
    scale = MATH_SELECT(F, large < 1e-18f, 1.547425049e+26f, scale);  /* 2^87 */                                       \
    F back = MATH_SELECT(F, large > 1e18f, 3.689348815e+19f, 1.0f);                                                    \
    back = MATH_SELECT(F, large < 1e-18f, 6.462348536e-27f, back);                                                     \
    F p = a * scale;                                                                                                   \
    F q = b * scale;                                                                                                   \
    F y_ = sqrt(p * p + q * q) * back;                                                                                 \
    return MATH_SELECT(F, a == INFINITY || b == INFINITY, INFINITY, y_);                                               \
  }

#if defined(CLTORCH_PRECISE) && defined(HAVE_DOUBLE)
INVERSE_PRECISE(float, MATH_WIDE, MATH_NARROW)
INVERSE_PRECISE(float2, MATH_WIDE2, MATH_NARROW2)
INVERSE_PRECISE(float4, MATH_WIDE4, MATH_NARROW4)
INVERSE_PRECISE(float8, MATH_WIDE8, MATH_NARROW8)
INVERSE_PRECISE(float16, MATH_WIDE16, MATH_NARROW16)
#elif defined(CLTORCH_PRECISE)
INVERSE_BUILTINS(float)
INVERSE_BUILTINS(float2)
INVERSE_BUILTINS(float4)
INVERSE_BUILTINS(float8)
INVERSE_BUILTINS(float16)
#else
INVERSE_FLOAT(float, int, as_float, as_int)
INVERSE_FLOAT(float2, int2, as_float2, as_int2)
INVERSE_FLOAT(float4, int4, as_float4, as_int4)
INVERSE_FLOAT(float8, int8, as_float8, as_int8)
INVERSE_FLOAT(float16, int16, as_float16, as_int16)
#endif
#ifdef HAVE_DOUBLE
INVERSE_BUILTINS(double)
INVERSE_BUILTINS(double2)
INVERSE_BUILTINS(double4)
INVERSE_BUILTINS(double8)
INVERSE_BUILTINS(double16)
#endif
