// Counter-based random numbers: Philox 2x32 with 10 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", 2011). Needs math.cl.
//
// Element `index` of the draw that begins at `offset` in the stream of `seed` is a pure function of the three: the same on every
// device and at every vector width. All arguments are long registers of one width; 2^64 numbers per seed.
//
// rand_bits(seed, offset, index)          uint: 32 random bits
// rand_long(seed, offset, index)          long: 63 random bits
// rand_below(seed, offset, index, n)      long in [0, n), n > 0; bias below n / 2^64 (n / 2^63 where n > 2^32)
// rand_uniform, rand_uniform_double       [0, 1), 24 and 53 bits
// rand_normal, rand_normal_double         standard normal (Box and Muller)

#define PHILOX(W, UINT, LONG, ULONG, TO_UINT, TO_ULONG, ANY)                                                           \
  /* two random words per counter; the seed's low word is the key, its high word is mixed into the counter */          \
  INLINE void philox(LONG seed, LONG offset, LONG index, UINT *first, UINT *second) {                                  \
    ULONG counter = TO_ULONG(offset) + TO_ULONG(index);                                                                \
    UINT a = TO_UINT(counter), b = TO_UINT(counter >> 32) ^ TO_UINT(TO_ULONG(seed) >> 32), key = TO_UINT(seed);        \
    for (int round = 0; round < 10; ++round) {                                                                         \
      ULONG product = TO_ULONG(a) * 0xd256d193UL;                                                                      \
      a = TO_UINT(product >> 32) ^ key ^ b;                                                                            \
      b = TO_UINT(product);                                                                                            \
      key += 0x9e3779b9u;                                                                                              \
    }                                                                                                                  \
    *first = a;                                                                                                        \
    *second = b;                                                                                                       \
  }                                                                                                                    \
  INLINE UINT rand_bits(LONG seed, LONG offset, LONG index) {                                                          \
    UINT a, b;                                                                                                         \
    philox(seed, offset, index, &a, &b);                                                                               \
    return a;                                                                                                          \
  }                                                                                                                    \
  INLINE LONG rand_long(LONG seed, LONG offset, LONG index) {                                                          \
    UINT a, b;                                                                                                         \
    philox(seed, offset, index, &a, &b);                                                                               \
    return as_long##W(((TO_ULONG(a) << 32) | TO_ULONG(b)) >> 1);                                                       \
  }                                                                                                                    \
  INLINE LONG rand_below(LONG seed, LONG offset, LONG index, LONG n) {                                                 \
    UINT a, b;                                                                                                         \
    philox(seed, offset, index, &a, &b);                                                                               \
    ULONG range = TO_ULONG(n);                                                                                         \
    LONG r = as_long##W((TO_ULONG(a) * range + ((TO_ULONG(b) * range) >> 32)) >> 32);                                  \
    if (ANY(n > 4294967296L)) {                                                                                        \
      LONG wide = as_long##W(((TO_ULONG(a) << 32) | TO_ULONG(b)) >> 1) % n;                                            \
      r = n > 4294967296L ? wide : r;                                                                                  \
    }                                                                                                                  \
    return r;                                                                                                          \
  }                                                                                                                    \
  INLINE float##W rand_uniform(LONG seed, LONG offset, LONG index) {                                                   \
    return PHILOX_FLOAT##W(rand_bits(seed, offset, index) >> 8) * 5.9604644775390625e-08f;                             \
  }                                                                                                                    \
  INLINE float##W rand_normal(LONG seed, LONG offset, LONG index) {                                                    \
    UINT a, b;                                                                                                         \
    philox(seed, offset, index, &a, &b);                                                                               \
    /* (0, 1], finest near 0 where the tail comes from */                                                              \
    float##W u = PHILOX_FLOAT##W(a) * 2.3283064365386963e-10f + 1.1641532182693481e-10f;                               \
    float##W angle = PHILOX_FLOAT##W(b >> 8) * 3.7450702829238756e-07f;                                                \
    return m_sqrt(m_log(u) * -2.0f) * m_cos(angle);                                                                    \
  }

#define PHILOX_DOUBLES(W, UINT, LONG, ULONG, TO_ULONG)                                                                 \
  INLINE double##W rand_uniform_double(LONG seed, LONG offset, LONG index) {                                           \
    UINT a, b;                                                                                                         \
    philox(seed, offset, index, &a, &b);                                                                               \
    return PHILOX_DOUBLE##W(((TO_ULONG(a) << 32) | TO_ULONG(b)) >> 11) * 1.1102230246251565e-16;                       \
  }                                                                                                                    \
  /* a second counter stream (the seed with its top bit flipped) gives the angle */                                    \
  INLINE double##W rand_normal_double(LONG seed, LONG offset, LONG index) {                                            \
    double##W u = rand_uniform_double(seed, offset, index) + 5.5511151231257827e-17;                                   \
    double##W angle = rand_uniform_double(seed ^ (-9223372036854775807L - 1), offset, index) * 6.283185307179586;      \
    return m_sqrt(m_log(u) * -2.0) * m_cos(angle);                                                                     \
  }

#define PHILOX_FLOAT(v) ((float)(v))
#define PHILOX_FLOAT2(v) CONVERT(float2, v)
#define PHILOX_FLOAT4(v) CONVERT(float4, v)
#define PHILOX_FLOAT8(v) CONVERT(float8, v)
#define PHILOX_FLOAT16(v) CONVERT(float16, v)
#define PHILOX_DOUBLE(v) ((double)(v))
#define PHILOX_DOUBLE2(v) CONVERT(double2, v)
#define PHILOX_DOUBLE4(v) CONVERT(double4, v)
#define PHILOX_DOUBLE8(v) CONVERT(double8, v)
#define PHILOX_DOUBLE16(v) CONVERT(double16, v)
#define PHILOX_UINT(v) ((uint)(v))
#define PHILOX_UINT2(v) CONVERT(uint2, v)
#define PHILOX_UINT4(v) CONVERT(uint4, v)
#define PHILOX_UINT8(v) CONVERT(uint8, v)
#define PHILOX_UINT16(v) CONVERT(uint16, v)
#define PHILOX_ULONG(v) ((ulong)(v))
#define PHILOX_ULONG2(v) CONVERT(ulong2, v)
#define PHILOX_ULONG4(v) CONVERT(ulong4, v)
#define PHILOX_ULONG8(v) CONVERT(ulong8, v)
#define PHILOX_ULONG16(v) CONVERT(ulong16, v)
#define PHILOX_SCALAR_ANY(v) (v)

PHILOX(, uint, long, ulong, PHILOX_UINT, PHILOX_ULONG, PHILOX_SCALAR_ANY)
PHILOX(2, uint2, long2, ulong2, PHILOX_UINT2, PHILOX_ULONG2, any)
PHILOX(4, uint4, long4, ulong4, PHILOX_UINT4, PHILOX_ULONG4, any)
PHILOX(8, uint8, long8, ulong8, PHILOX_UINT8, PHILOX_ULONG8, any)
PHILOX(16, uint16, long16, ulong16, PHILOX_UINT16, PHILOX_ULONG16, any)
#ifdef HAVE_DOUBLE
PHILOX_DOUBLES(, uint, long, ulong, PHILOX_ULONG)
PHILOX_DOUBLES(2, uint2, long2, ulong2, PHILOX_ULONG2)
PHILOX_DOUBLES(4, uint4, long4, ulong4, PHILOX_ULONG4)
PHILOX_DOUBLES(8, uint8, long8, ulong8, PHILOX_ULONG8)
PHILOX_DOUBLES(16, uint16, long16, ulong16, PHILOX_ULONG16)
#endif
