// What a device can do at most: a copy for bandwidth, chains of multiply-adds for arithmetic. Measured by runtime/profiler.py.
//
// copy: each work-item (CPU) copies a run of neighbouring vectors, or (GPU) vectors that lie a grid apart.
//       traffic: 2 x the bytes copied.
// read: the same, summed in four accumulators instead of stored: a copy also reads the lines that it is to overwrite.
//       traffic: the bytes read.
// fma:  12 independent chains per work-item hide the latency of the multiply-add; 24 x LANES flops per round.
// The includer defines KERNEL_NAME, LANES (float, float4, ...), GROUP, and PEAK_COPY, PEAK_READ or PEAK_FMA.

#ifdef PEAK_COPY
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void KERNEL_NAME(__global LANES *restrict a, __global const LANES *restrict b, int count, int per_item) {
#if GROUP == 1
  const long first = (long)get_global_id(0) * per_item, last = min(first + per_item, (long)count);
  for (long i = first; i < last; ++i) a[i] = b[i];
#else
  for (long i = get_global_id(0); i < count; i += get_global_size(0)) a[i] = b[i];
#endif
}
#endif

#ifdef PEAK_READ
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void KERNEL_NAME(__global float *a, __global const LANES *restrict b, int count, int per_item) {
  LANES s0 = (LANES)(0.0f), s1 = s0, s2 = s0, s3 = s0;
#if GROUP == 1
  const long first = (long)get_global_id(0) * per_item, last = min(first + per_item, (long)count), step = 1;
#else
  const long first = get_global_id(0), last = count, step = get_global_size(0);
#endif
  long i = first;
  for (; i + 3 * step < last; i += 4 * step) {
    s0 += b[i]; s1 += b[i + step]; s2 += b[i + 2 * step]; s3 += b[i + 3 * step];
  }
  for (; i < last; i += step) s0 += b[i];
  const LANES sum = s0 + s1 + s2 + s3;
  a[get_global_id(0)] = ((const float *)&sum)[0];
}
#endif

#ifdef PEAK_FMA
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1)))
void KERNEL_NAME(__global float *a, int rounds, float x) {
  const LANES f = (LANES)(x), g = (LANES)(x + 0.25f);
  LANES c0 = f, c1 = f + 1.0f, c2 = f + 2.0f, c3 = f + 3.0f, c4 = f + 4.0f, c5 = f + 5.0f;
  LANES c6 = f + 6.0f, c7 = f + 7.0f, c8 = f + 8.0f, c9 = f + 9.0f, c10 = f + 10.0f, c11 = f + 11.0f;
  for (int i = 0; i < rounds; ++i) {
    c0 = c0 * f + g; c1 = c1 * f + g; c2 = c2 * f + g; c3 = c3 * f + g; c4 = c4 * f + g; c5 = c5 * f + g;
    c6 = c6 * f + g; c7 = c7 * f + g; c8 = c8 * f + g; c9 = c9 * f + g; c10 = c10 * f + g; c11 = c11 * f + g;
  }
  const LANES sum = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9 + c10 + c11;
  a[get_global_id(0)] = ((const float *)&sum)[0];
}
#endif
