// Elementary functions m_* for float and double in every width: scalars, 2, 4, 8 and 16 lanes.
//
// float: own code, straight-line and free of built-in calls (PoCL does not inline its built-ins, and they cost 2-10 times as
// much): argument reduction after Cody and Waite, minimax polynomials and rational functions fitted by iterated weighted least
// squares (see "Fits" below). Infinities, NaN, denormals and signed zeros come out as IEEE 754 wants them.
// double: the driver's built-ins. With CLTORCH_PRECISE float is computed in double where the device has it, else by the
// driver's functions. benchmarks/accuracy.py measures all over the whole of float32. Rarer: inverse.cl, gamma.cl, special.cl.
//
// Fits (relative error of the exact approximation; rounding adds 1e-7 .. 3e-7):
//   exp, expm1   1 + r + r^2 P4(r), |r| <= ln2 / 2             4e-9, 2e-8
//   exp_down     1 + r + r^2 P3(r)                             1e-7
//   log          f - f^2/2 + f^3 P8(f), 1 + f in [sqrt 1/2, sqrt 2]  7e-10
//   pow          atanh(s) = s + s^3 P3(s^2), s <= 0.1716, between sums of two floats  4e-10
//   sin, cos     r + r^3 P2(r^2), 1 - r^2/2 + r^4 P2(r^2), |r| <= pi / 4   4e-9
//   tanh         x + x^3 P4(x^2), |x| < 0.6; or from exp(-2 |x|)      3e-9
//   sinh         x + x^3 P3(x^2), |x| < 1; or from exp(|x| / 2)       5e-11
//   erf          x + x P5(x^2), |x| < 0.92, or 1 - exp(P6(|x|))       2e-8, 2e-9
//   erfinv       x P9(w - 2.5), w < 5, or x P8(sqrt w - 3.1), w = -log(1 - x^2)   8e-8

#define MATH_SELECT(T, condition, a, b) ((condition) ? (T)(a) : (T)(b))

// any() is a call in a loop on PoCL
INLINE int math_any(int m) { return m; }
INLINE int math_any(int2 m) { return (m.lo | m.hi) != 0; }
INLINE int math_any(int4 m) { return math_any(m.lo | m.hi); }
INLINE int math_any(int8 m) { return math_any(m.lo | m.hi); }
INLINE int math_any(int16 m) { return math_any(m.lo | m.hi); }

#define MATH_BUILTIN1(T, NAME, CALL) INLINE T NAME(T x) { return CALL(x); }
#define MATH_BUILTIN2(T, NAME, CALL) INLINE T NAME(T x, T y) { return CALL(x, y); }

// What is the driver's in every type.
#define MATH_RARE(T)                                                                                                   \
  MATH_BUILTIN1(T, m_sqrt, sqrt)                                                                                       \
  INLINE T m_rsqrt(T x) { return (T)(1) / sqrt(x); }

#define MATH_EXTREMA(T)                                                                                                \
  INLINE T m_max(T x, T y) { return (x > y || x != x) ? x : y; }                                                       \
  INLINE T m_min(T x, T y) { return (x < y || x != x) ? x : y; }

#define MATH_BUILTINS(T)                                                                                               \
  MATH_BUILTIN1(T, m_exp, exp)                                                                                         \
  MATH_BUILTIN1(T, m_exp_down, exp)                                                                                    \
  MATH_BUILTIN1(T, m_exp2, exp2)                                                                                       \
  MATH_BUILTIN1(T, m_expm1, expm1)                                                                                     \
  MATH_BUILTIN1(T, m_log, log)                                                                                         \
  MATH_BUILTIN1(T, m_log2, log2)                                                                                       \
  MATH_BUILTIN1(T, m_log10, log10)                                                                                     \
  MATH_BUILTIN1(T, m_log1p, log1p)                                                                                     \
  MATH_BUILTIN1(T, m_sin, sin)                                                                                         \
  MATH_BUILTIN1(T, m_cos, cos)                                                                                         \
  MATH_BUILTIN1(T, m_tan, tan)                                                                                         \
  MATH_BUILTIN1(T, m_sinh, sinh)                                                                                       \
  MATH_BUILTIN1(T, m_cosh, cosh)                                                                                       \
  MATH_BUILTIN1(T, m_tanh, tanh)                                                                                       \
  MATH_BUILTIN1(T, m_erf_quick, erf)                                                                                   \
  MATH_BUILTIN1(T, m_erf, erf)                                                                                         \
  MATH_BUILTIN2(T, m_pow, pow)                                                                                         \
  INLINE T m_sigmoid(T x) { return (T)(1) / ((T)(1) + exp(-x)); }

#define MATH_FLOAT(F, I, TO_F, TO_I, AS_F, AS_I)                                                                       \
  /* p * 2^n for n in -160 .. 160, in two steps so that denormals and overflow come out right; n may be any number     \
     plus a multiple of 512 */                                                                                         \
  INLINE F math_scale(F p, I n) {                                                                                      \
    I half_n = n >> 1;                                                                                                 \
    return p * AS_F((half_n << 23) + 0x3f800000) * AS_F(((n - half_n) << 23) + 0x3f800000);                            \
  }                                                                                                                    \
  /* (exp(r) - 1 - r) / r^2 for |r| <= 0.36 */                                                                         \
  INLINE F math_exp_rest(F r) {                                                                                        \
    F p = r * 1.381446685e-03f + 8.368780548e-03f;                                                                     \
    p = p * r + 4.166839422e-02f;                                                                                      \
    p = p * r + 1.666652011e-01f;                                                                                      \
    return p * r + 4.999999341e-01f;                                                                                   \
  }                                                                                                                    \
  INLINE F m_exp(F x) {                                                                                                \
    F c = MATH_SELECT(F, x > 89.0f, 89.0f, x);                                                                         \
    c = MATH_SELECT(F, c < -104.0f, -104.0f, c);                                                                       \
    F shifted = c * 1.44269504e+00f + 12582912.0f;                                                                     \
    F n = shifted - 12582912.0f;                                                                                       \
    F r = (c - n * 6.93359375e-01f) - n * -2.12194440e-04f;                                                            \
    return math_scale((math_exp_rest(r) * r + 1.0f) * r + 1.0f, AS_I(shifted));                                        \
  }                                                                                                                    \
  /* exp(x) for x <= 0 where only the sum with other such terms, one of them 1, matters: below 2^-126 it may be 0 */   \
  INLINE F m_exp_down(F x) {                                                                                           \
    F c = MATH_SELECT(F, x < -88.0f, -88.0f, x);                                                                       \
    F shifted = c * 1.44269504e+00f + 12582912.0f;                                                                     \
    F n = shifted - 12582912.0f;                                                                                       \
    F r = (c - n * 6.93359375e-01f) - n * -2.12194440e-04f;                                                            \
    F s = AS_F((AS_I(shifted) << 23) + 0x3f800000);                                                                    \
    F p = r * 8.312500e-03f + 4.189033e-02f;                                                                           \
    p = p * r + 1.6667115e-01f;                                                                                        \
    p = p * r + 4.999923e-01f;                                                                                         \
    p = p * r + 1.0f;                                                                                                  \
    return p * (r * s) + s;                                                                                            \
  }                                                                                                                    \
  INLINE F m_exp2(F x) {                                                                                               \
    F c = MATH_SELECT(F, x > 129.0f, 129.0f, x);                                                                       \
    c = MATH_SELECT(F, c < -151.0f, -151.0f, c);                                                                       \
    F shifted = c + 12582912.0f;                                                                                       \
    F r = (c - (shifted - 12582912.0f)) * 6.931471806e-01f;                                                            \
    return math_scale((math_exp_rest(r) * r + 1.0f) * r + 1.0f, AS_I(shifted));                                        \
  }                                                                                                                    \
  INLINE F m_expm1(F x) {                                                                                              \
    F c = MATH_SELECT(F, x > 89.0f, 89.0f, x);                                                                         \
    c = MATH_SELECT(F, c < -30.0f, -30.0f, c);                                                                         \
    F shifted = c * 1.44269504e+00f + 12582912.0f;                                                                     \
    F n = shifted - 12582912.0f;                                                                                       \
    F r = (c - n * 6.93359375e-01f) - n * -2.12194440e-04f;                                                            \
    I k = AS_I(shifted) - 0x4b400000;                                                                                  \
    F p = math_exp_rest(r) * (r * r) + r;                                                                              \
    F s = AS_F((k - 1 + 127) << 23); /* 2^(k-1): 2^128 is no float */                                                  \
    F y = (s * p + (s - 0.5f)) * 2.0f;                                                                                 \
    y = MATH_SELECT(F, k == 0, p, y);                                                                                  \
    return MATH_SELECT(F, x == 0.0f, x, y);                                                                            \
  }                                                                                                                    \
  INLINE F m_sigmoid(F x) { return 1.0f / (1.0f + m_exp(-x)); }                                                        \
  /* x = 2^exponent (1 + fraction), 1 + fraction in [sqrt 1/2, sqrt 2); x > 0 and finite */                            \
  INLINE F math_split(F x, F *fraction) {                                                                              \
    F tiny = MATH_SELECT(F, x < 1.17549435e-38f, 1.0f, 0.0f);                                                          \
    F scaled = MATH_SELECT(F, x < 1.17549435e-38f, x * 8388608.0f, x);                                                 \
    I bits = AS_I(scaled) - 0x3f3504f3;                                                                                \
    *fraction = AS_F((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;                                                           \
    return TO_F(bits >> 23) - tiny * 23.0f;                                                                            \
  }                                                                                                                    \
  /* log(1 + f) - f */                                                                                                 \
  INLINE F math_log1p_rest(F f) {                                                                                      \
    F p = f * 6.746634422e-02f - 1.167565018e-01f;                                                                     \
    p = p * f + 1.188816418e-01f;                                                                                      \
    p = p * f - 1.240558931e-01f;                                                                                      \
    p = p * f + 1.421955214e-01f;                                                                                      \
    p = p * f - 1.666799582e-01f;                                                                                      \
    p = p * f + 2.000211867e-01f;                                                                                      \
    p = p * f - 2.500000960e-01f;                                                                                      \
    p = p * f + 3.333331260e-01f;                                                                                      \
    F z = f * f;                                                                                                       \
    return z * (p * f) - 0.5f * z;                                                                                     \
  }                                                                                                                    \
  INLINE F math_log_special(F x, F y) {                                                                                \
    y = MATH_SELECT(F, x == 0.0f, -INFINITY, y);                                                                       \
    y = MATH_SELECT(F, x < 0.0f, NAN, y);                                                                              \
    return MATH_SELECT(F, x == INFINITY || x != x, x, y);                                                              \
  }                                                                                                                    \
  INLINE F m_log(F x) {                                                                                                \
    F f;                                                                                                               \
    F e = math_split(x, &f);                                                                                           \
    F y = (math_log1p_rest(f) + e * -2.12194440e-04f) + f + e * 6.93359375e-01f;                                       \
    return math_log_special(x, y);                                                                                     \
  }                                                                                                                    \
  INLINE F m_log2(F x) {                                                                                               \
    F f;                                                                                                               \
    F e = math_split(x, &f);                                                                                           \
    F rest = math_log1p_rest(f);                                                                                       \
    /* log2(e) = 1 + 0.4427: the 1 is exact */                                                                         \
    F y = ((rest * 4.426950409e-01f + f * 4.426950409e-01f) + rest) + f + e;                                           \
    return math_log_special(x, y);                                                                                     \
  }                                                                                                                    \
  INLINE F m_log10(F x) {                                                                                              \
    F f;                                                                                                               \
    F e = math_split(x, &f);                                                                                           \
    F rest = math_log1p_rest(f);                                                                                       \
    /* log10(e) = 0.43359375 + 0.0007007...; log10(2) = 0.30078125 + 0.00024874... */                                  \
    F y = (rest + f) * 7.007319033e-04f + e * 2.487456640e-04f;                                                        \
    y = (y + rest * 4.3359375e-01f) + f * 4.3359375e-01f + e * 3.0078125e-01f;                                         \
    return math_log_special(x, y);                                                                                     \
  }                                                                                                                    \
  INLINE F m_log1p(F x) {                                                                                              \
    F u = 1.0f + x;                                                                                                    \
    F lost = MATH_SELECT(F, x < 1.0f, x - (u - 1.0f), 1.0f - (u - x));                                                 \
    F f;                                                                                                               \
    F e = math_split(u, &f);                                                                                           \
    F y = (math_log1p_rest(f) + lost / u + e * -2.12194440e-04f) + f + e * 6.93359375e-01f;                            \
    y = MATH_SELECT(F, x > -1.0e-8f && x < 1.0e-8f, x, y);                                                             \
    return MATH_SELECT(F, u > 0.0f && u < INFINITY, y, math_log_special(u, u));                                        \
  }                                                                                                                    \
  /* the upper 12 bits: products of two such numbers are exact */                                                      \
  INLINE F math_upper(F x) { return AS_F(AS_I(x) & -4096); }                                                           \
  /* x^y = 2^(y log2 |x|), the exponent as a sum of two floats: log2 m = 2 / ln2 atanh((m - 1) / (m + 1)) */           \
  INLINE F m_pow(F x, F y) {                                                                                           \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F f;                                                                                                               \
    F k = math_split(a, &f);                                                                                           \
    F m = f + 1.0f;                                                                                                    \
    F d = m + 1.0f;                                                                                                    \
    F over = 1.0f / d;                                                                                                 \
    F s = f * over;                                                                                                    \
    F s_up = math_upper(s);                                                                                            \
    F d_up = math_upper(d);                                                                                            \
    F s_low = ((f - s_up * d_up) - s_up * ((d - d_up) + (m - (d - 1.0f)))) * over;                                     \
    F z = s * s;                                                                                                       \
    F w = z * 1.179249490e-01f + 1.426858393e-01f;                                                                     \
    w = (w * z + 2.000016863e-01f) * z + 3.333333282e-01f;                                                             \
    F low = (w * z * s + s_low) * 2.885390082e+00f + s_up * 6.244567779e-04f;                                          \
    F up = s_up * 2.884765625e+00f;                                                                                    \
    F h = k + up;                                                                                                      \
    low = (up - (h - k)) + low;                                                                                        \
    /* y (h + low) */                                                                                                  \
    F h_up = math_upper(h);                                                                                            \
    F y_up = math_upper(y);                                                                                            \
    F e = y_up * h_up;                                                                                                 \
    F e_low = (y - y_up) * h_up + y * ((h - h_up) + low);                                                              \
    F rough = y * (h + low);                                                                                           \
    e = MATH_SELECT(F, rough > 152.0f, 152.0f, e);                                                                     \
    e = MATH_SELECT(F, rough < -152.0f, -152.0f, e);                                                                   \
    e_low = MATH_SELECT(F, rough <= 152.0f && rough >= -152.0f, e_low, 0.0f);                                          \
    /* 2^(e + e_low), ln2 in two parts as well: whole powers of whole numbers come out exact */                        \
    F shifted = (e + e_low) + 12582912.0f;                                                                             \
    F part = e - (shifted - 12582912.0f);                                                                              \
    F r = part + e_low;                                                                                                \
    F r_up = math_upper(r);                                                                                            \
    F t_up = r_up * 6.93115234375e-01f;                                                                                \
    F t_low = ((part - r_up) + e_low) * 6.931471806e-01f + r_up * 3.194618495e-05f;                                    \
    F t = t_up + t_low;                                                                                                \
    F p = t_up + (t * t * math_exp_rest(t) + t_low) + 1.0f;                                                            \
    p = math_scale(p, AS_I(shifted));                                                                                  \
    /* 0, infinities, 1, negative bases, NaN */                                                                        \
    F ends = MATH_SELECT(F, (a == 0.0f && y < 0.0f) || (a > 1.0f && y > 0.0f), INFINITY, 0.0f);                        \
    p = MATH_SELECT(F, a == 0.0f || a == INFINITY, ends, p);                                                           \
    F whole = AS_F(AS_I(y) & 0x7fffffff);                                                                              \
    whole = MATH_SELECT(F, whole < 16777216.0f, whole, 16777216.0f);                                                   \
    I number = TO_I(whole);                                                                                            \
    F odd = MATH_SELECT(F, TO_F(number) == whole && (number & 1) == 1, -p, p);                                         \
    F negative = MATH_SELECT(F, TO_F(number) == whole || a == 0.0f || a == INFINITY, odd, NAN);                        \
    p = MATH_SELECT(F, AS_I(x) < 0, negative, p);                                                                      \
    p = MATH_SELECT(F, x == -1.0f && whole == 16777216.0f, 1.0f, p);                                                   \
    p = MATH_SELECT(F, x != x || y != y, x + y, p);                                                                    \
    return MATH_SELECT(F, y == 0.0f || x == 1.0f, 1.0f, p);                                                            \
  }                                                                                                                    \
  /* sine and cosine of x = n pi/2 + r: pi/2 in parts of 11, 11, 24 and 24 bits, two exact products for n < 2^13 */    \
  INLINE I math_sincos(F x, F *s, F *c) {                                                                              \
    F shifted = x * 6.366197724e-01f + 12582912.0f;                                                                    \
    F n = shifted - 12582912.0f;                                                                                       \
    F r = (((x - n * 1.5703125f) - n * 4.837512969970703125e-04f) - n * 7.549789954891882e-08f) - n * -1.7151245e-15f; \
    F z = r * r;                                                                                                       \
    *s = ((-1.951463171e-04f * z + 8.332156052e-03f) * z - 1.666665454e-01f) * (z * r) + r;                            \
    *c = ((2.443241266e-05f * z - 1.388730986e-03f) * z + 4.166664555e-02f) * (z * z) - 0.5f * z + 1.0f;               \
    return AS_I(shifted) & 3;                                                                                          \
  }                                                                                                                    \
  INLINE F m_sin(F x) {                                                                                                \
    F s, c;                                                                                                            \
    I quadrant = math_sincos(x, &s, &c);                                                                               \
    F y = MATH_SELECT(F, (quadrant & 1) == 1, c, s);                                                                   \
    y = AS_F(AS_I(y) ^ ((quadrant & 2) << 30));                                                                        \
    y = MATH_SELECT(F, x == 0.0f, x, y);                                                                               \
    if (math_any(!(x < 10000.0f && x > -10000.0f))) y = MATH_SELECT(F, x < 10000.0f && x > -10000.0f, y, sin(x));      \
    return y;                                                                                                          \
  }                                                                                                                    \
  INLINE F m_cos(F x) {                                                                                                \
    F s, c;                                                                                                            \
    I quadrant = math_sincos(x, &s, &c);                                                                               \
    F y = MATH_SELECT(F, (quadrant & 1) == 1, s, c);                                                                   \
    y = AS_F(AS_I(y) ^ (((quadrant + 1) & 2) << 30));                                                                  \
    if (math_any(!(x < 10000.0f && x > -10000.0f))) y = MATH_SELECT(F, x < 10000.0f && x > -10000.0f, y, cos(x));      \
    return y;                                                                                                          \
  }                                                                                                                    \
  INLINE F m_tan(F x) {                                                                                                \
    F s, c;                                                                                                            \
    I quadrant = math_sincos(x, &s, &c);                                                                               \
    F y = MATH_SELECT(F, (quadrant & 1) == 1, -c, s) / MATH_SELECT(F, (quadrant & 1) == 1, s, c);                      \
    y = MATH_SELECT(F, x == 0.0f, x, y);                                                                               \
    if (math_any(!(x < 10000.0f && x > -10000.0f))) y = MATH_SELECT(F, x < 10000.0f && x > -10000.0f, y, tan(x));      \
    return y;                                                                                                          \
  }                                                                                                                    \
  /* y with the sign of x; y is not negative */                                                                        \
  INLINE F math_signed(F y, F x) { return AS_F(AS_I(y) | (AS_I(x) & (-2147483647 - 1))); }                             \
  INLINE F m_tanh(F x) {                                                                                               \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F z = x * x;                                                                                                       \
    F p = z * -5.89515931e-03f + 2.07959737e-02f;                                                                      \
    p = p * z - 5.37838309e-02f;                                                                                       \
    p = p * z + 1.33319241e-01f;                                                                                       \
    p = p * z - 3.33332980e-01f;                                                                                       \
    F e = m_exp_down(a * -2.0f);                                                                                       \
    return math_signed(MATH_SELECT(F, a < 0.6f, p * (z * a) + a, (1.0f - e) / (1.0f + e)), x);                         \
  }                                                                                                                    \
  /* erf within 6 units in the last place, for gelu, whose 1 + erf loses as much: a third cheaper */                   \
  INLINE F m_erf_quick(F x) {                                                                                          \
    F z = x * x;                                                                                                       \
    z = MATH_SELECT(F, z > 15.4449f, 15.4449f, z);                                                                     \
    F p = z * 2.041976919e-06f + 2.848088055e-04f;                                                                     \
    p = p * z + 3.779602023e-03f;                                                                                      \
    p = p * z + 5.279026526e-02f;                                                                                      \
    p = p * z + 1.907836042e-01f;                                                                                      \
    p = p * z + 1.128379145e+00f;                                                                                      \
    F q = z * 3.800415041e-05f + 1.165211659e-03f;                                                                     \
    q = q * z + 1.499742278e-02f;                                                                                      \
    q = q * z + 1.142574368e-01f;                                                                                      \
    q = q * z + 5.024102866e-01f;                                                                                      \
    q = q * z + 1.0f;                                                                                                  \
    F y = x * (p / q);                                                                                                 \
    y = MATH_SELECT(F, x > 3.93f, 1.0f, y);                                                                            \
    return MATH_SELECT(F, x < -3.93f, -1.0f, y);                                                                       \
  }                                                                                                                    \
  /* for |x| < 0.92 */                                                                                                 \
  INLINE F math_erf_near(F x) {                                                                                        \
    F z = x * x;                                                                                                       \
    F p = z * -5.95383374e-04f + 4.98596267e-03f;                                                                      \
    p = p * z - 2.67617391e-02f;                                                                                       \
    p = p * z + 1.12816833e-01f;                                                                                       \
    p = p * z - 3.76124812e-01f;                                                                                       \
    p = p * z + 1.28379148e-01f;                                                                                       \
    return p * x + x;                                                                                                  \
  }                                                                                                                    \
  INLINE F m_erf(F x) {                                                                                                \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F c = MATH_SELECT(F, a > 3.95f, 3.95f, a);                                                                         \
    F q = c * 1.98220221e-04f - 3.06549542e-03f;                                                                       \
    q = q * c + 2.23152318e-02f;                                                                                       \
    q = q * c - 1.04113715e-01f;                                                                                       \
    q = q * c - 6.36976046e-01f;                                                                                       \
    q = q * c - 1.12779726e+00f;                                                                                       \
    q = q * c - 1.66443077e-04f;                                                                                       \
    return MATH_SELECT(F, a < 0.92f, math_erf_near(x), math_signed(1.0f - m_exp_down(q), x));                          \
  }                                                                                                                    \
  /* 0.25 / h would be a denormal, which costs a hundred cycles, where it does not matter */                           \
  INLINE F math_bounded(F h) { return MATH_SELECT(F, h > 1e10f, 1e10f, h); }                                           \
  /* exp(a) / 2 = (exp(a / 2) / 2) exp(a / 2) does not overflow before its result does */                              \
  INLINE F m_sinh(F x) {                                                                                               \
    F a = AS_F(AS_I(x) & 0x7fffffff);                                                                                  \
    F z = x * x;                                                                                                       \
    F p = z * 2.81695112e-06f + 1.98361598e-04f;                                                                       \
    p = p * z + 8.33335006e-03f;                                                                                       \
    p = p * z + 1.66666665e-01f;                                                                                       \
    F e = m_exp(a * 0.5f);                                                                                             \
    F h = e * 0.5f * e;                                                                                                \
    return math_signed(MATH_SELECT(F, a < 1.0f, p * (z * a) + a, h - 0.25f / math_bounded(h)), x);                     \
  }                                                                                                                    \
  INLINE F m_cosh(F x) {                                                                                               \
    F e = m_exp(AS_F(AS_I(x) & 0x7fffffff) * 0.5f);                                                                    \
    F h = e * 0.5f * e;                                                                                                \
    return h + 0.25f / math_bounded(h);                                                                                \
  }

#define MATH_ERFINV(F)                                                                                                 \
  INLINE F m_erfinv(F x) {                                                                                             \
    F w = -m_log((1.0f - x) * (1.0f + x));                                                                             \
    F t = w - 2.5f;                                                                                                    \
    F near = t * -8.791021752e-09f + 2.323262606e-08f;                                                                 \
    near = near * t + 4.661701847e-07f;                                                                                \
    near = near * t - 3.462704535e-06f;                                                                                \
    near = near * t - 4.963345663e-06f;                                                                                \
    near = near * t + 2.183444386e-04f;                                                                                \
    near = near * t - 1.252741882e-03f;                                                                                \
    near = near * t - 4.177386780e-03f;                                                                                \
    near = near * t + 2.466402862e-01f;                                                                                \
    near = near * t + 1.501409359e+00f;                                                                                \
    F u = sqrt(w) - 3.1f;                                                                                              \
    F far = u * -1.654310967e-04f - 4.623408956e-05f;                                                                  \
    far = far * u + 1.314185146e-03f;                                                                                  \
    far = far * u - 2.871184305e-03f;                                                                                  \
    far = far * u + 4.128617650e-03f;                                                                                  \
    far = far * u - 5.660385183e-03f;                                                                                  \
    far = far * u + 7.459101846e-03f;                                                                                  \
    far = far * u + 1.003353844e+00f;                                                                                  \
    far = far * u + 2.933231680e+00f;                                                                                  \
    F y = x * MATH_SELECT(F, w < 5.0f, near, far);                                                                     \
    return MATH_SELECT(F, x == 1.0f || x == -1.0f, x * INFINITY, y);                                                   \
  }

// From a fit good to 1e-6, two steps of Halley's method on erf(y) = x (erfc where x is near 1).
#define MATH_ERFINV_DOUBLE(D)                                                                                          \
  INLINE D m_erfinv(D x) {                                                                                             \
    D a = fabs(x);                                                                                                     \
    D w = -log((1.0 - a) * (1.0 + a));                                                                                 \
    D t = w - 2.5;                                                                                                     \
    D near = t * 2.853501074e-08 + 3.437273544e-07;                                                                    \
    near = near * t - 3.528862198e-06;                                                                                 \
    near = near * t - 4.396784461e-06;                                                                                 \
    near = near * t + 2.186022037e-04;                                                                                 \
    near = near * t - 1.253707505e-03;                                                                                 \
    near = near * t - 4.177707756e-03;                                                                                 \
    near = near * t + 2.466407261e-01;                                                                                 \
    near = near * t + 1.501409422e+00;                                                                                 \
    D u = sqrt(w) - 4.0;                                                                                               \
    D far = u * 1.753431978e-05 - 7.890483447e-05;                                                                     \
    far = far * u + 9.248272924e-05;                                                                                   \
    far = far * u - 2.751919283e-05;                                                                                   \
    far = far * u + 2.522016419e-04;                                                                                   \
    far = far * u - 9.427695054e-04;                                                                                   \
    far = far * u + 1.295495013e-03;                                                                                   \
    far = far * u + 1.009511353e+00;                                                                                   \
    far = far * u + 3.839781243e+00;                                                                                   \
    D y = a * (w < 5.0 ? near : far);                                                                                  \
    for (int k = 0; k < 2; ++k) {                                                                                      \
      D miss = a < 0.5 ? erf(y) - a : (1.0 - a) - erfc(y);                                                             \
      D step = miss * 0.886226925452758 * exp(y * y);                                                                  \
      y = y - step / (1.0 + y * step);                                                                                 \
    }                                                                                                                  \
    y = a == 1.0 ? (D)(INFINITY) : y;                                                                                  \
    return a == 0.0 ? x : copysign(y, x);                                                                              \
  }

// With CLTORCH_PRECISE: in double, rounded once, so within half a unit in the last place and a little; the drivers' float
// functions are off by up to 4 units, PoCL's sin and cos by thousands.
#define MATH_PRECISE1(F, NAME, CALL, WIDE, NARROW) INLINE F NAME(F x) { return NARROW(CALL(WIDE(x))); }
#define MATH_PRECISE(F, WIDE, NARROW)                                                                                  \
  MATH_PRECISE1(F, m_sqrt, sqrt, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_sinh, sinh, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_cosh, cosh, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_exp, exp, WIDE, NARROW)                                                                           \
  MATH_PRECISE1(F, m_exp_down, exp, WIDE, NARROW)                                                                      \
  MATH_PRECISE1(F, m_exp2, exp2, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_expm1, expm1, WIDE, NARROW)                                                                       \
  MATH_PRECISE1(F, m_log, log, WIDE, NARROW)                                                                           \
  MATH_PRECISE1(F, m_log2, log2, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_log10, log10, WIDE, NARROW)                                                                       \
  MATH_PRECISE1(F, m_log1p, log1p, WIDE, NARROW)                                                                       \
  MATH_PRECISE1(F, m_sin, sin, WIDE, NARROW)                                                                           \
  MATH_PRECISE1(F, m_cos, cos, WIDE, NARROW)                                                                           \
  MATH_PRECISE1(F, m_tan, tan, WIDE, NARROW)                                                                           \
  MATH_PRECISE1(F, m_tanh, tanh, WIDE, NARROW)                                                                         \
  MATH_PRECISE1(F, m_erf_quick, erf, WIDE, NARROW)                                                                     \
  MATH_PRECISE1(F, m_erf, erf, WIDE, NARROW)                                                                           \
  INLINE F m_pow(F x, F y) { return NARROW(math_pow(WIDE(x), WIDE(y))); }                                              \
  INLINE F m_rsqrt(F x) { return NARROW(1.0 / sqrt(WIDE(x))); }                                                        \
  INLINE F m_sigmoid(F x) { return NARROW(1.0 / (1.0 + exp(-WIDE(x)))); }

// Not pow(): PoCL's, on vectors of double, is wrong by orders of magnitude.
#define MATH_WIDE_POW(D)                                                                                               \
  INLINE D math_pow(D x, D y) {                                                                                        \
    D a = fabs(x);                                                                                                     \
    D p = exp2(y * log2(a));                                                                                           \
    p = (a == (D)(1)) ? (D)(1) : p;                                                                                    \
    D half_y = y * (D)(0.5);                                                                                           \
    p = ((x < (D)(0) || (x == (D)(0) && (D)(1) / x < (D)(0))) && floor(y) == y && floor(half_y) != half_y) ? -p : p;   \
    p = (x < (D)(0) && floor(y) != y && a != (D)(INFINITY)) ? (D)(NAN) : p;                                            \
    p = (x != x || y != y) ? (D)(NAN) : p;                                                                             \
    return (y == (D)(0) || x == (D)(1)) ? (D)(1) : p;                                                                  \
  }

#define MATH_WIDE(v) ((double)(v))
#define MATH_NARROW(v) ((float)(v))
#define MATH_WIDE2(v) CONVERT(double2, v)
#define MATH_NARROW2(v) CONVERT(float2, v)
#define MATH_WIDE4(v) CONVERT(double4, v)
#define MATH_NARROW4(v) CONVERT(float4, v)
#define MATH_WIDE8(v) CONVERT(double8, v)
#define MATH_NARROW8(v) CONVERT(float8, v)
#define MATH_WIDE16(v) CONVERT(double16, v)
#define MATH_NARROW16(v) CONVERT(float16, v)

#define MATH_SCALAR_TO_FLOAT(v) ((float)(v))
#define MATH_SCALAR_TO_INT(v) ((int)(v))
#define MATH_TO_FLOAT2(v) CONVERT(float2, v)
#define MATH_TO_INT2(v) CONVERT(int2, v)
#define MATH_TO_FLOAT4(v) CONVERT(float4, v)
#define MATH_TO_INT4(v) CONVERT(int4, v)
#define MATH_TO_FLOAT8(v) CONVERT(float8, v)
#define MATH_TO_INT8(v) CONVERT(int8, v)
#define MATH_TO_FLOAT16(v) CONVERT(float16, v)
#define MATH_TO_INT16(v) CONVERT(int16, v)

#if defined(CLTORCH_PRECISE) && defined(HAVE_DOUBLE)
MATH_WIDE_POW(double)
MATH_WIDE_POW(double2)
MATH_WIDE_POW(double4)
MATH_WIDE_POW(double8)
MATH_WIDE_POW(double16)
MATH_PRECISE(float, MATH_WIDE, MATH_NARROW)
MATH_PRECISE(float2, MATH_WIDE2, MATH_NARROW2)
MATH_PRECISE(float4, MATH_WIDE4, MATH_NARROW4)
MATH_PRECISE(float8, MATH_WIDE8, MATH_NARROW8)
MATH_PRECISE(float16, MATH_WIDE16, MATH_NARROW16)
#else
MATH_RARE(float)
MATH_RARE(float2)
MATH_RARE(float4)
MATH_RARE(float8)
MATH_RARE(float16)
#ifdef CLTORCH_PRECISE
MATH_BUILTINS(float)
MATH_BUILTINS(float2)
MATH_BUILTINS(float4)
MATH_BUILTINS(float8)
MATH_BUILTINS(float16)
#else
MATH_FLOAT(float, int, MATH_SCALAR_TO_FLOAT, MATH_SCALAR_TO_INT, as_float, as_int)
MATH_FLOAT(float2, int2, MATH_TO_FLOAT2, MATH_TO_INT2, as_float2, as_int2)
MATH_FLOAT(float4, int4, MATH_TO_FLOAT4, MATH_TO_INT4, as_float4, as_int4)
MATH_FLOAT(float8, int8, MATH_TO_FLOAT8, MATH_TO_INT8, as_float8, as_int8)
MATH_FLOAT(float16, int16, MATH_TO_FLOAT16, MATH_TO_INT16, as_float16, as_int16)
#endif
#endif
MATH_EXTREMA(float)
MATH_EXTREMA(float2)
MATH_EXTREMA(float4)
MATH_EXTREMA(float8)
MATH_EXTREMA(float16)
MATH_ERFINV(float)
MATH_ERFINV(float2)
MATH_ERFINV(float4)
MATH_ERFINV(float8)
MATH_ERFINV(float16)
#ifdef HAVE_DOUBLE
MATH_EXTREMA(double)
MATH_EXTREMA(double2)
MATH_EXTREMA(double4)
MATH_EXTREMA(double8)
MATH_EXTREMA(double16)
MATH_RARE(double)
MATH_RARE(double2)
MATH_RARE(double4)
MATH_RARE(double8)
MATH_RARE(double16)
MATH_BUILTINS(double)
MATH_BUILTINS(double2)
MATH_BUILTINS(double4)
MATH_BUILTINS(double8)
MATH_BUILTINS(double16)
MATH_ERFINV_DOUBLE(double)
MATH_ERFINV_DOUBLE(double2)
MATH_ERFINV_DOUBLE(double4)
MATH_ERFINV_DOUBLE(double8)
MATH_ERFINV_DOUBLE(double16)
#endif
