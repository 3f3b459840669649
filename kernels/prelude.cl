// Unaligned vector loads and stores, half and bfloat16 storage, conversions. Always the first text of a program.
//
// vec_load{W}(p), vec_store{W}(v, p)      T in char uchar short ushort int uint long ulong float double; W in 1 2 4 8 16;
//                                         p: pointer to T in __global, __local or __private memory, aligned as T only.
// vec_stream{W}(v, p)                     the same past the cache, for results too large to stay in it; p in __global.
// PREFETCH(p)                             start to read the cache line of a __global pointer, which need not exist.
// half_load{W}(p), half_store{W}(v, p)    float{W} from and to float16 kept as ushort; to nearest even, NaN kept.
// bf16_load{W}(p), bf16_store{W}(v, p)    likewise for bfloat16.
// half_bits(v) half_value(v) half_round(v), bf16_bits(v) bf16_value(v) bf16_round(v)    the same in registers, any width.
// CONVERT(T, v)                           vector conversion; scalars are cast with (T)v.
//
// Why not vload and convert_*: PoCL 3.0 does not inline its built-ins, and one call in a loop spills every vector register.

#if defined(cl_khr_fp64) || defined(__opencl_c_fp64)
#define HAVE_DOUBLE 1
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
#endif

#define INLINE static inline __attribute__((overloadable, always_inline))

#ifdef __has_builtin
#if __has_builtin(__builtin_convertvector)
#define CONVERT(T, v) __builtin_convertvector(v, T)
#endif
#endif
#ifndef CONVERT
#define CONVERT(T, v) convert_##T(v)
#endif

#ifdef __has_builtin
#if __has_builtin(__builtin_nontemporal_store)
#define PAST_CACHE(v, p) __builtin_nontemporal_store(v, p)
#endif
#if __has_builtin(__builtin_prefetch)
#define PREFETCH(p) __builtin_prefetch((const __global void *)(p))
#endif
#endif
#ifndef PAST_CACHE
#define PAST_CACHE(v, p) (*(p) = (v))
#endif
#ifndef PREFETCH
#define PREFETCH(p)
#endif

#define VECTOR_ACCESS_IN(SPACE, T, W)                                                                                  \
  INLINE T##W vec_load##W(const SPACE T *p) { return *(const SPACE T##W##_unaligned *)p; }                             \
  INLINE void vec_store##W(T##W v, SPACE T *p) { *(SPACE T##W##_unaligned *)p = v; }

// H: W / 2. The two ways to store differ, or LLVM makes one plain store of them.
#define VECTOR_ACCESS(T, W, H)                                                                                         \
  typedef T##W T##W##_unaligned __attribute__((aligned(sizeof(T))));                                                   \
  VECTOR_ACCESS_IN(__global, T, W)                                                                                     \
  VECTOR_ACCESS_IN(__local, T, W)                                                                                      \
  VECTOR_ACCESS_IN(__private, T, W)                                                                                    \
  INLINE void vec_stream##W(T##W v, __global T *p) {                                                                   \
    if (((size_t)p & (sizeof(T##W) - 1)) == 0) {                                                                       \
      PAST_CACHE(v, (__global T##W *)p);                                                                               \
    } else {                                                                                                           \
      vec_store##H(v.lo, p);                                                                                           \
      vec_store##H(v.hi, p + H);                                                                                       \
    }                                                                                                                  \
  }

#define SCALAR_ACCESS_IN(SPACE, T)                                                                                     \
  INLINE T vec_load1(const SPACE T *p) { return *p; }                                                                  \
  INLINE void vec_store1(T v, SPACE T *p) { *p = v; }

#define ACCESS(T)                                                                                                      \
  SCALAR_ACCESS_IN(__global, T)                                                                                        \
  SCALAR_ACCESS_IN(__local, T)                                                                                         \
  SCALAR_ACCESS_IN(__private, T)                                                                                       \
  VECTOR_ACCESS(T, 2, 1)                                                                                               \
  VECTOR_ACCESS(T, 4, 2)                                                                                               \
  VECTOR_ACCESS(T, 8, 4)                                                                                               \
  VECTOR_ACCESS(T, 16, 8)

ACCESS(char)
ACCESS(uchar)
ACCESS(short)
ACCESS(ushort)
ACCESS(int)
ACCESS(uint)
ACCESS(long)
ACCESS(ulong)
ACCESS(float)
#ifdef HAVE_DOUBLE
ACCESS(double)
#endif

// ---- float16 and bfloat16, in integer arithmetic: the same on every driver, whatever it does to denormal floats

// F, I, U, H: float, int, uint and ushort of one width. TO_U, TO_H: conversions. AS_*: reinterpretation.
#define SHORT_FLOATS(F, I, U, H, TO_U, TO_H, AS_F, AS_U, AS_I)                                                         \
  INLINE F half_value(H h) {                                                                                           \
    U u = TO_U(h);                                                                                                     \
    U magnitude = (u & 0x7fffu) << 13;                                                                                 \
    I exponent = AS_I(magnitude & 0x0f800000u);                                                                        \
    U normal = magnitude + 0x38000000u;                                                                                \
    U tiny = AS_U(AS_F(magnitude + 0x38800000u) - 6.103515625e-05f);                                                   \
    U r = exponent == 0x0f800000 ? normal + 0x38000000u : (exponent == 0 ? tiny : normal);                             \
    return AS_F(r | ((u & 0x8000u) << 16));                                                                            \
  }                                                                                                                    \
  INLINE H half_bits(F v) {                                                                                            \
    U u = AS_U(v);                                                                                                     \
    U sign = (u >> 16) & 0x8000u;                                                                                      \
    I magnitude = AS_I(u & 0x7fffffffu);                                                                               \
    U normal = (AS_U(magnitude) - 0x38000000u + 0xfffu + ((u >> 13) & 1u)) >> 13;                                      \
    U tiny = AS_U(AS_F(magnitude) + 0.5f) - 0x3f000000u;                                                               \
    U special = magnitude > 0x7f800000 ? (U)(0x7e00u) : (U)(0x7c00u);                                                  \
    U r = magnitude < 0x38800000 ? tiny : (magnitude >= 0x47800000 ? special : normal);                                \
    return TO_H(r | sign);                                                                                             \
  }                                                                                                                    \
  INLINE F bf16_value(H h) { return AS_F(TO_U(h) << 16); }                                                             \
  INLINE H bf16_bits(F v) {                                                                                            \
    U u = AS_U(v);                                                                                                     \
    U rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;                                                                \
    return TO_H(AS_I(u & 0x7fffffffu) > 0x7f800000 ? (u >> 16) | 0x40u : rounded);                                     \
  }                                                                                                                    \
  INLINE F half_round(F v) { return half_value(half_bits(v)); }                                                        \
  INLINE F bf16_round(F v) { return bf16_value(bf16_bits(v)); }

#define SCALAR_TO_UINT(v) ((uint)(v))
#define SCALAR_TO_USHORT(v) ((ushort)(v))
#define VECTOR_TO_UINT2(v) CONVERT(uint2, v)
#define VECTOR_TO_UINT4(v) CONVERT(uint4, v)
#define VECTOR_TO_UINT8(v) CONVERT(uint8, v)
#define VECTOR_TO_UINT16(v) CONVERT(uint16, v)
#define VECTOR_TO_USHORT2(v) CONVERT(ushort2, v)
#define VECTOR_TO_USHORT4(v) CONVERT(ushort4, v)
#define VECTOR_TO_USHORT8(v) CONVERT(ushort8, v)
#define VECTOR_TO_USHORT16(v) CONVERT(ushort16, v)
#define SHORT_FLOAT_VECTORS(W)                                                                                         \
  SHORT_FLOATS(float##W, int##W, uint##W, ushort##W, VECTOR_TO_UINT##W, VECTOR_TO_USHORT##W, as_float##W, as_uint##W,  \
               as_int##W)

SHORT_FLOATS(float, int, uint, ushort, SCALAR_TO_UINT, SCALAR_TO_USHORT, as_float, as_uint, as_int)
SHORT_FLOAT_VECTORS(2)
SHORT_FLOAT_VECTORS(4)
SHORT_FLOAT_VECTORS(8)
SHORT_FLOAT_VECTORS(16)

#define SHORT_FLOAT_ACCESS_IN(SPACE, F, W, NAME)                                                                       \
  INLINE F half_load##NAME(const SPACE ushort *p) { return half_value(vec_load##W(p)); }                               \
  INLINE F bf16_load##NAME(const SPACE ushort *p) { return bf16_value(vec_load##W(p)); }                               \
  INLINE void half_store##NAME(F v, SPACE ushort *p) { vec_store##W(half_bits(v), p); }                                \
  INLINE void bf16_store##NAME(F v, SPACE ushort *p) { vec_store##W(bf16_bits(v), p); }

#define SHORT_FLOAT_ACCESS(F, W, NAME)                                                                                 \
  SHORT_FLOAT_ACCESS_IN(__global, F, W, NAME)                                                                          \
  SHORT_FLOAT_ACCESS_IN(__local, F, W, NAME)                                                                           \
  SHORT_FLOAT_ACCESS_IN(__private, F, W, NAME)

SHORT_FLOAT_ACCESS(float, 1, )
SHORT_FLOAT_ACCESS(float, 1, 1)
SHORT_FLOAT_ACCESS(float2, 2, 2)
SHORT_FLOAT_ACCESS(float4, 4, 4)
SHORT_FLOAT_ACCESS(float8, 8, 8)
SHORT_FLOAT_ACCESS(float16, 16, 16)
