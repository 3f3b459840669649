## Products of which both operands run along K (a matrix times vectors, a few rows of activations times a weight), for CPUs.
##
## One work-item per work-group (n block, m block, batch x split). R x C sums run along K as vectors, R * C <= W, and are added across
## their lanes at the end by log2(W) stages of interleaving, which leaves all of them in one vector. Nothing is packed: memory
## traffic is B once per strip of R rows. The end of K is a vector that ends with K, lanes already counted set to zero: K >= W.
## The last strips are moved back to end with the matrix: R <= M, C <= N.
<%
    V = vector_type
    rows, columns = range(R), range(C)
    names = ["c%d_%d" % (r, c) for r in rows for c in columns]
    names += ["(%s)(0)" % V] * (W - len(names))
%>\
#define KERNEL_low(a, b) __builtin_shufflevector(a, b, ${zip_low})
#define KERNEL_high(a, b) __builtin_shufflevector(a, b, ${zip_high})
__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void KERNEL(${parameters}) {
  I batch = get_group_id(2);
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
${setup}
  const I m0 = get_group_id(1) * mc, m1 = m0 + mc < M ? m0 + mc : M;
  const I n0 = get_group_id(0) * nc, n1 = n0 + nc < N ? n0 + nc : N;
  const I left = (k_end - k_begin) % ${W}, k_whole = k_end - left;
  // (compared as int and widened: rusticl on llvmpipe compares longs wrongly)
  const ${M} counted = CONVERT(${M}, (int${W})(${", ".join(map(str, range(W)))}) >= (int${W})((int)(${W} - left)));
  __local ${E} *sums = (__local ${E} *)sums_memory;
  for (I m = m0; m < m1; m += ${R}) {
    const I mb = m + ${R} <= M ? m : M - ${R};
    for (I n = n0; n < n1; n += ${C}) {
      const I nb = n + ${C} <= N ? n : N - ${C};
      const __global ${S} *a = A + mb * a_m;
      const __global ${SB} *b = B + nb * b_n;
% for r in rows:
      ${V} ${", ".join("c%d_%d = (%s)(0)" % (r, c, V) for c in columns)};
% endfor
      for (I k = k_begin; k < k_whole; k += ${W}) {
% for r in rows:
        const ${V} x${r} = ${load("a + %d * a_m + k" % r, W)};
% endfor
% for c in columns:
        {
          const ${V} y = ${load_b("b + %d * b_n + k" % c, W)};
% for r in rows:
          c${r}_${c} = x${r} * y + c${r}_${c};
% endfor
        }
% endfor
      }
      if (left) {
        const I k = k_end - ${W};
% for r in rows:
        const ${V} x${r} = as_${V}(as_${M}(${load("a + %d * a_m + k" % r, W)}) & counted);
% endfor
% for c in columns:
        {
          const ${V} y = as_${V}(as_${M}(${load_b("b + %d * b_n + k" % c, W)}) & counted);
% for r in rows:
          c${r}_${c} = x${r} * y + c${r}_${c};
% endfor
        }
% endfor
      }
<%    statements, total = across(names) %>\
${statements}
      // row r starts at r * pitch; the ${C} places before column n0 take what a strip moved back computes again
      __local ${E} *to = sums + ${C} + (nb - n0);
% for r in rows:
% for w, at, lanes in parts(C, W, r * C):
      vec_store${w}(${total}${lanes}, to + ${r} * pitch + ${at});
% endfor
% endfor
    }
    for (I row = m; row < mb + ${R}; ++row) {
      const __local ${E} *from = sums + (row - mb) * pitch + ${C} - n0;
      I column = n0;
      for (; column + ${W} <= n1; column += ${W}) {
        const ${V} sum = vec_load${W}(from + column);
${finish(W)}
      }
      for (; column < n1; ++column) {
        const ${E} sum = from[column];
${finish(1)}
      }
    }
  }
}
