## Packs a matrix ahead of gemm_tile into strips: strip s holds columns [s * P, s * P + P) of X (the last one ends with the matrix),
## element after element along K: to[(s * P) * K + k * P + p] = X[k, column(s) + p].
##
## One work-item per work-group (block of K, block of strips, batch). Form 'along': a row of X is contiguous and is read once from end to
## end while the strips grow side by side. Form 'across': K is contiguous; strips are transposed in registers. Form 'any': strided.
## Memory traffic: X once, the strips once.
<%
    V = vector_type
    starts, D = range(0, P, W), min(4, W)
%>\
__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void KERNEL(${parameters}) {
  const I batch = get_group_id(2);
${setup}
  to += batch * to_batch;
  const I k0 = get_group_id(0) * kc, k1 = k0 + kc < K ? k0 + kc : K;
  const I n0 = get_group_id(1) * nc, n1 = n0 + nc < N ? n0 + nc : N;
% if form == "along":
  for (I k = k0; k < k1; ++k) {
    const __global ${S} *p = X + k * x_k;
    for (I n = n0; n < n1; n += ${P}) {
      const __global ${S} *q = p + (n + ${P} <= N ? n : N - ${P});
      __global ${E} *r = to + n * K + k * ${P};
% for w, at in pieces(P, W):
      vec_store${w}(${load("q + %d" % at, w)}, r + ${at});
% endfor
    }
  }
% else:
  for (I n = n0; n < n1; n += ${P}) {
    const __global ${S} *p = X + (n + ${P} <= N ? n : N - ${P}) * x_n;
    __global ${E} *r = to + n * K;
    I k = k0;
% if form == "across":
    for (; k + ${D} <= k1; k += ${D}) {
% for base in starts:
      {
<%
    rows = [load("p + %d * x_n + k" % r, D) if r < P else "(%s%d)(0)" % (E, D) for r in range(base, base + W)]
    statements, turned = transpose(rows)
%>\
${statements}
% for i in range(D):
% for w, at, lanes in parts(min(W, P - base), W):
        vec_store${w}(${turned[i]}${lanes}, r + (k + ${i}) * ${P} + ${base + at});
% endfor
% endfor
      }
% endfor
    }
% endif
    for (; k < k1; ++k) {
#pragma unroll 1
      for (I i = 0; i < ${P}; ++i) r[k * ${P} + i] = ${load("p + i * x_n + k * x_k", 1)};
    }
  }
% endif
}
