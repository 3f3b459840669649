## Matrix product on CPUs: register tiles over panels packed inside the kernel, any strides, ragged sizes, batches, split K.
##
## One work-item per work-group (n block, m block, batch x split). A group walks its block of C in slices of K, usually one. For
## each slice and each panel of NR = NV * W columns it packs the panel of B (K-major) into local memory, just before the strips of
## A use it; A is read in place ('direct', and 'columns' where it runs along M), packed by the group (a_form 'rows': as rows,
## 'strips' and 'any': as K-major strips of MR), or was packed by gemm_pack ('ahead'); so may B. The MR x NV register tile then
## runs over the slice: NV loads, MR broadcasts and MR * NV multiply-adds per k. `sliced`: K is longer than one slice, and sums
## wait in scratch between them.
##
## Ragged edges: no padding and no branch in the k loop. The last strip and the last panel are moved back to end with the matrix,
## so a few elements are computed twice, and only the new ones are finished and stored. MR <= M always; where N < NR the
## panel is packed with the last column repeated.
##
## Memory traffic: B is read once per m block, A once per panel of the n block (the later ones from L2). Packing both matrices in
## launches of their own cost 7 % at 1024^3 (and the packed ones come back from L3); packing a panel where it is used costs 2 to 3 %.
## Source: Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008; the order of loops and
## the choice to pack within the group are our own measurements (benchmarks/kernels_gemm.py).
<%
    V = vector_type
    NR, D = NV * W, min(4, W)
    rows, vectors = range(MR), range(NV)
    a_strips, a_step = a_form in ("strips", "any", "ahead", "columns"), "a_pitch" if a_form == "rows" else "a_m"
    a_packed, b_packed = a_form in ("rows", "strips", "any"), b_form in ("rows", "columns", "any")
%>\
__attribute__((reqd_work_group_size(1, 1, 1)))
__kernel void KERNEL(${parameters}) {
  I batch = get_group_id(2);
  const I piece = batch % splits;
  batch = batch / splits;
  const I k_begin = piece * k_piece, k_end = k_begin + k_piece < K ? k_begin + k_piece : K;
${setup}
  const I m0 = get_group_id(1) * mc, m1 = m0 + mc < M ? m0 + mc : M;
  const I n0 = get_group_id(0) * nc, n1 = n0 + nc < N ? n0 + nc : N;
% if a_form == "rows":
  const I m_first = m1 - m0 < ${MR} ? m1 - ${MR} : m0, rows = m1 - m_first;
% endif
% if sliced:
  __global ${E} *held_here = held
    + ((get_group_id(2) * get_num_groups(1) + get_group_id(1)) * get_num_groups(0) + get_group_id(0)) * (size_t)held_block;
% else:
  __local ${E} *sums = (__local ${E} *)held_memory;
% endif
% if a_packed:
  __local ${E} *packed_a = (__local ${E} *)a_memory;
% endif
% if b_packed:
  __local ${E} *packed_b = (__local ${E} *)b_memory;
% endif
% if sliced:
  I k0 = k_begin;
  do {
    const I kn = k0 + kc < k_end ? kc : k_end - k0;
    const int last = k0 + kc >= k_end;
    __global ${E} *sums = held_here;
% else:
  {
    const I k0 = k_begin, kn = k_end - k_begin;
% endif
% if a_packed:
    // ${"rows of A, one after the other" if a_form == "rows" else "strips of A, MR wide, K-major"}
% if a_form == "rows":
    for (I m = 0; m < rows; ++m) {
      const __global ${S} *p = A + (m_first + m) * a_m + k0;
      __local ${E} *to = packed_a + m * a_pitch;
      I k = 0;
      for (; k + ${W} <= kn; k += ${W}) vec_store${W}(${load("p + k", W)}, to + k);
      for (; k < kn; ++k) to[k] = ${load("p + k", 1)};
    }
% elif a_form == "strips":
    for (I k = 0; k < kn; ++k) {
      const __global ${S} *p = A + (k0 + k) * a_k;
      __local ${E} *to = packed_a + k * ${MR};
      for (I m = m0; m < m1; m += ${MR}) {
        const I mb = m + ${MR} <= M ? m : M - ${MR};
% for w, at in pieces(MR, W):
        vec_store${w}(${load("p + mb + %d" % at, w)}, to + ${at});
% endfor
        to += kc * ${MR};
      }
    }
% else:
    for (I m = m0; m < m1; m += ${MR}) {
      const I mb = m + ${MR} <= M ? m : M - ${MR};
      for (I r = 0; r < ${MR}; ++r) {
        const __global ${S} *p = A + (mb + r) * a_m + k0 * a_k;
        __local ${E} *to = packed_a + (m - m0) * kc + r;
        for (I k = 0; k < kn; ++k) to[k * ${MR}] = ${load("p + k * a_k", 1)};
      }
    }
% endif
% endif
    for (I n = n0; n < n1; n += ${NR}) {
      const I n_end = n + ${NR} < n1 ? n + ${NR} : n1;
% if b_form == "any":
      const I nb = n + ${NR} <= N ? n : (N > ${NR} ? N - ${NR} : 0);
% else:
      const I nb = n + ${NR} <= N ? n : N - ${NR};
% endif
% if b_packed:
      // a panel of B, NR wide, K-major
% endif
% if b_form == "rows":
      {
        const __global ${SB} *p = B + k0 * b_k + nb;
        __local ${E} *to = packed_b;
        for (I k = 0; k < kn; ++k) {
% for v in vectors:
          vec_store${W}(${load_b("p + %d" % (v * W), W)}, to + ${v * W});
% endfor
          p += b_k;
          to += ${NR};
        }
      }
% elif b_form == "columns":
#pragma unroll 1
      for (I j = 0; j < ${NR}; j += ${W}) {
        const __global ${SB} *p = B + (nb + j) * b_n + k0;
        __local ${E} *to = packed_b + j;
        I k = 0;
        for (; k + ${D} <= kn; k += ${D}) {
<%      statements, turned = transpose([load_b("p + %d * b_n + k" % r, D) for r in range(W)]) %>\
${statements}
% for i in range(D):
          vec_store${W}(${turned[i]}, to + (k + ${i}) * ${NR});
% endfor
        }
        for (; k < kn; ++k) {
#pragma unroll 1
          for (I r = 0; r < ${W}; ++r) to[k * ${NR} + r] = ${load_b("p + r * b_n + k", 1)};
        }
      }
% elif b_form == "any":
      for (I j = 0; j < ${NR}; ++j) {
        const I column = nb + j < N ? nb + j : N - 1;
        const __global ${SB} *p = B + column * b_n + k0 * b_k;
        __local ${E} *to = packed_b + j;
        for (I k = 0; k < kn; ++k) to[k * ${NR}] = ${load_b("p + k * b_k", 1)};
      }
% endif
      for (I m = m0; m < m1; m += ${MR}) {
        const I mb = m + ${MR} <= M ? m : M - ${MR};
% for r in rows:
        ${V} ${", ".join("c%d_%d = (%s)(0)" % (r, v, V) for v in vectors)};
% endfor
% if sliced:
        if (k0 != k_begin) {
% for r in rows:
% for v in vectors:
          c${r}_${v} = vec_load${W}(sums + ${r * NR + v * W});
% endfor
% endfor
        }
% endif
% if a_form == "rows":
        const __local ${E} *a = packed_a + (mb - m_first) * a_pitch;
% elif a_packed:
        const __local ${E} *a = packed_a + (m - m0) * kc;
% elif a_form == "columns":
        const __global ${E} *a = A + k0 * a_k + mb;
% elif a_form == "ahead":
        const __global ${E} *a = A + m * K + k0 * ${MR};
% else:
        const __global ${E} *a = A + mb * a_m + k0;
% endif
% if b_packed:
        const __local ${E} *b = packed_b;
% elif b_form == "ahead":
        const __global ${E} *b = B + n * K + k0 * ${NR};
% else:
        const __global ${E} *b = B + k0 * b_k + nb;
% endif
        for (I k = 0; k < kn; ++k) {
% for v in vectors:
          const ${V} b${v} = vec_load${W}(b + ${v * W});
% endfor
          b += ${"b_k" if b_form == "direct" else NR};
% for r in rows:
          {
            const ${V} x = (${V})(${"a[%d]" % r if a_strips else "a[%d * %s + k]" % (r, a_step)});
% for v in vectors:
            c${r}_${v} = x * b${v} + c${r}_${v};
% endfor
          }
% endfor
% if a_strips:
          a += ${"a_k" if a_form == "columns" else MR};
% endif
        }
% if unrolled:
        if (${"last && " if sliced else ""}mb == m && nb == n && n_end - n == ${NR}) {
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
          ${"if (last) " if sliced else ""}{
            for (I row = m; row < mb + ${MR}; ++row) {
              const ${space} ${E} *from = sums + (row - mb) * ${NR} - nb;
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
% if sliced:
        sums += ${MR * NR};
% endif
      }
    }
% if sliced:
    k0 += kc;
  } while (k0 < k_end);
% else:
  }
% endif
}
