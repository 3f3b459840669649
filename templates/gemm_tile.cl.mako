## Matrix product on CPUs: register tiles over panels packed inside the kernel, any strides, ragged sizes, batches, split K.
##
## One work-item per work-group (n block, m block, batch x split). A group walks its block of C in `kc`-deep slices of K; for each
## slice it packs its rows of A (if `a_form` says so) as K-major strips of MR rows, then for every panel of NR = NV * W columns
## packs B (if `b_form` says so) as K-major rows of NR and runs the MR x NV register tile down the strips:
## NV loads, MR broadcasts and MR * NV multiply-adds per k. Sums wait in local memory between slices.
##
## Ragged edges: no padding and no branch in the k loop. The last strip and the last panel are moved back to end with the matrix,
## so a few elements are computed twice, and only the new ones are finished and stored. MR <= M always; where N < NR the
## panel is packed with the last column repeated.
##
## Memory traffic: B is read once per m block, A once per panel (from L2: a block of A is mc x kc).
## Source: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008; the order of loops and
## the choice to pack within the group are our own measurements (benchmarks/kernels_gemm.py).
<%
    V = vector_type
    NR = NV * W
    turned_parts = []
    rows, vectors = range(MR), range(NV)
    a_packed, b_packed = a_form != "direct", b_form != "direct"
    a_space, b_space = ("__local" if a_packed else "const __global"), ("__local" if b_packed else "const __global")
%>\
% if a_form == "rows" or b_form == "columns":
#define KERNEL_low(a, b) __builtin_shufflevector(a, b, ${zip_low})
#define KERNEL_high(a, b) __builtin_shufflevector(a, b, ${zip_high})
% endif
__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void KERNEL(${parameters}) {
  I batch = get_group_id(2);
% if split:
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
% else:
  const I k_begin = 0, k_end = K;
% endif
${setup}
  const I m0 = get_group_id(1) * mc, m1 = m0 + mc < M ? m0 + mc : M;
  const I n0 = get_group_id(0) * nc, n1 = n0 + nc < N ? n0 + nc : N;
  I k0 = k_begin;
  do {
    const I kn = k0 + kc < k_end ? kc : k_end - k0;
    const int last = k0 + kc >= k_end;
% if a_packed:
    // strips of A
    {
      __local ${E} *to = packed_a;
      for (I m = m0; m < m1; m += ${MR}) {
        const I mb = m + ${MR} <= M ? m : M - ${MR};
% if a_form == "strips":
        for (I k = 0; k < kn; ++k) {
          const __global ${S} *p = A + (k0 + k) * a_k + mb;
% for w, at in pieces(MR):
          vec_store${w if w > 1 else 1}(${load("p + %d" % at, w)}, to + k * ${MR} + ${at});
% endfor
        }
% elif a_form == "rows":
        const __global ${S} *p = A + mb * a_m + k0;
        I k = 0;
        for (; k + ${W} <= kn; k += ${W}) {
% for base in range(0, MR, W):
% for r in range(W):
          const ${V} r${base + r} = ${load("p + %d * a_m + k" % (base + r), W) if base + r < MR else "(%s)(0)" % V};
% endfor
<%      statements, turned = transpose(["r%d" % (base + r) for r in range(W)], "t%d" % base) %>\
${statements}
<%      turned_parts = [turned] if base == 0 else turned_parts + [turned] %>\
% endfor
% for i in range(W):
% for part, turned in enumerate(turned_parts):
          vec_store${W}(${turned[i]}, to + (k + ${i}) * ${MR} + ${part * W});
% endfor
% endfor
        }
        for (; k < kn; ++k) {
          for (I r = 0; r < ${MR}; ++r) to[k * ${MR} + r] = ${load("p + r * a_m + k", 1)};
        }
% else:
        for (I r = 0; r < ${MR}; ++r) {
          const __global ${S} *p = A + (mb + r) * a_m + k0 * a_k;
          for (I k = 0; k < kn; ++k) to[k * ${MR} + r] = ${load("p + k * a_k", 1)};
        }
% endif
        to += kn * ${MR};
      }
    }
% endif
    __local ${E} *sums = held;
    for (I n = n0; n < n1; n += ${NR}) {
      const I n_end = n + ${NR} < n1 ? n + ${NR} : n1;
% if b_form == "any":
      const I nb = n + ${NR} <= N ? n : (N > ${NR} ? N - ${NR} : 0);
% else:
      const I nb = n + ${NR} <= N ? n : N - ${NR};
% endif
% if b_form == "rows":
      for (I k = 0; k < kn; ++k) {
        const __global ${S} *p = B + (k0 + k) * b_k + nb;
% for v in vectors:
        vec_store${W}(${load("p + %d" % (v * W), W)}, packed_b + k * ${NR} + ${v * W});
% endfor
      }
% elif b_form == "columns":
      for (I j = 0; j < ${NR}; j += ${W}) {
        const __global ${S} *p = B + (nb + j) * b_n + k0;
        __local ${E} *to = packed_b + j;
        I k = 0;
        for (; k + ${W} <= kn; k += ${W}) {
% for r in range(W):
          const ${V} r${r} = ${load("p + %d * b_n + k" % r, W)};
% endfor
<%      statements, turned = transpose(["r%d" % r for r in range(W)], "t") %>\
${statements}
% for i in range(W):
          vec_store${W}(${turned[i]}, to + (k + ${i}) * ${NR});
% endfor
        }
        for (; k < kn; ++k) {
          for (I r = 0; r < ${W}; ++r) to[k * ${NR} + r] = ${load("p + r * b_n + k", 1)};
        }
      }
% elif b_form == "any":
      for (I j = 0; j < ${NR}; ++j) {
        const I column = nb + j < N ? nb + j : N - 1;
        const __global ${S} *p = B + column * b_n + k0 * b_k;
        for (I k = 0; k < kn; ++k) packed_b[k * ${NR} + j] = ${load("p + k * b_k", 1)};
      }
% endif
      for (I m = m0; m < m1; m += ${MR}) {
        const I mb = m + ${MR} <= M ? m : M - ${MR};
% for r in rows:
        ${V} ${", ".join("c%d_%d" % (r, v) for v in vectors)};
% endfor
        if (k0 == k_begin) {
% for r in rows:
          ${" = ".join("c%d_%d" % (r, v) for v in vectors)} = (${V})(0);
% endfor
        } else {
% for r in rows:
% for v in vectors:
          c${r}_${v} = vec_load${W}(sums + ${r * NR + v * W});
% endfor
% endfor
        }
% if a_packed:
        const __local ${E} *a = packed_a + (m - m0) * kn;
% else:
        const __global ${E} *a = A + mb * a_m + k0;
% endif
% if b_packed:
        const __local ${E} *b = packed_b;
% else:
        const __global ${E} *b = B + k0 * b_k + nb;
% endif
        for (I k = 0; k < kn; ++k) {
% for v in vectors:
          const ${V} b${v} = vec_load${W}(b + ${v * W});
% endfor
          b += ${NR if b_packed else "b_k"};
% for r in rows:
          {
            const ${V} x = (${V})(${"a[%d]" % r if a_packed else "a[%d * a_m + k]" % r});
% for v in vectors:
            c${r}_${v} = x * b${v} + c${r}_${v};
% endfor
          }
% endfor
% if a_packed:
          a += ${MR};
% endif
        }
% if unrolled:
        if (last && mb == m && nb == n && n_end - n == ${NR}) {
% for r in rows:
          {
            const I row = mb + ${r};
% for v in vectors:
            {
              const I column = nb + ${v * W};
              const ${V} sum = c${r}_${v};
${finish(W)}
            }
% endfor
          }
% endfor
        } else
% endif
        {
% for r in rows:
% for v in vectors:
          vec_store${W}(c${r}_${v}, sums + ${r * NR + v * W});
% endfor
% endfor
          if (last) {
            for (I row = m; row < mb + ${MR}; ++row) {
              const __local ${E} *from = sums + (row - mb) * ${NR} - nb;
              I column = n;
              for (; column + ${W} <= n_end; column += ${W}) {
                const ${V} sum = vec_load${W}(from + column);
${finish(W)}
              }
              for (; column < n_end; ++column) {
                const ${E} sum = from[column];
${finish(1)}
              }
            }
          }
        }
        sums += held_step;
      }
    }
    k0 += kc;
  } while (k0 < k_end);
}
