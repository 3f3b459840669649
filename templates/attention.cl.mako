## Attention on CPUs in flash form: softmax(scale q k^T + mask) v by blocks of keys, forward and backward; no matrix of scores in memory.
##
## One work-item per work-group. All products are register tiles of MR rows by NV (NO) vectors over panels in local memory: per
## step of the sum NV vector loads, MR broadcasts, MR * NV multiply-adds. Powers are of two (scale and masks are times log2 e).
##
## forward    group = (chunk of `chunk_rows` queries, query head, batch); under a causal mask a head's last, longest chunk first
##   (and not all long chunks first: PoCL deals out half of what is left at a time).
##   For each block of BK keys: keys are transposed to panels of NR = NV * W, values copied, both shared by all strips of MR
##   queries; a strip gets its scores, its maxima and powers (online softmax: sums so far are scaled when a maximum grows), and
##   its weighted values. Kept for backward: log2 of each row's sum of powers.
## backward   group = (part of the keys, key head, batch). For each block of BK keys: for each block of `block_rows` queries:
##   shares p = 2^(s - lse), slopes ds = p (dp - delta) with delta = rowsum(g out), strip by strip; dq += ds k per strip;
##   dv += p^T g and dk += ds^T q per block. Five products, nothing computed twice, no atomics: a head's dq is summed by one
##   work-item, or in `parts` that attention_sum.cl.mako adds.
##
## Causal: tiles beyond the diagonal are skipped, and the products over keys (queries) end (begin) at the diagonal.
## Memory traffic: q, out, g once per block of keys in backward, k and v once per chunk in forward.
## Source: Dao, Fu, Ermon, Rudra, Ré, FlashAttention, 2022; Milakov and Gimelshein, Online normalizer calculation for softmax,
## 2018 (forward). Tile sizes and the choice to share panels between strips are our own measurements (benchmarks/NOTES.md).
<%
    NR, ND = NV * W, NO * W
    iota = ", ".join(str(i) for i in range(W))
%>\
// 2^x for x <= 0 (above 127 it is of no use), 0 below 2^-126; straight-line, errors as m_exp2
INLINE ${V} KERNEL_power(${V} x) {
#ifdef CLTORCH_PRECISE
  return exp2(x);
#else
  const ${V} c = x < -127.0f ? (${V})(-127.0f) : x;
  const ${V} shifted = c + 12582912.0f;
  const ${V} r = (c - (shifted - 12582912.0f)) * 6.931471806e-01f;
  return ((math_exp_rest(r) * r + 1.0f) * r + 1.0f) * as_float${W}((as_int${W}(shifted) << 23) + 0x3f800000);
#endif
}
INLINE float KERNEL_sum(${V} x${W}) { ${across("{0}.lo + {0}.hi")} }
% if not backward:
INLINE float KERNEL_top(${V} x${W}) { ${across("{0}.lo > {0}.hi ? {0}.lo : {0}.hi")} }
% endif
% if dropout:
// lanes of 1 where an element of the weights is kept, from its number in the whole of them
INLINE int${W} KERNEL_kept(long seed, long offset, long number, uint threshold) {
  const uint${W} bits = rand_bits((long${W})(seed), (long${W})(offset), (long${W})(number) + (long${W})(${iota}));
  return (bits >> 8) >= threshold;
}
% endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${V})))
void KERNEL(${parameters}) {
  const I batch = get_group_id(2);
  __local float *const keys_t = (__local float *)keys_t_memory;
  __local float *const scores = (__local float *)scores_memory;
  __local float *const queries = (__local float *)queries_memory;
% if backward:
  ${backward_body()}
% else:
  ${forward_body()}
% endif
}
<%def name="zero(vectors)">
% for r in range(MR):
      ${V} ${", ".join("c%d_%d = (%s)(0.0f)" % (r, v, V) for v in range(vectors))};
% endfor
</%def>
## c += A B: A[r, t] broadcast from a[r * a_row + t * a_step], B[t] vectors from b[t * b_step]
<%def name="multiply(vectors, a, a_row, a_step, b, b_step, begin, end)">
      for (int t = ${begin}; t < ${end}; ++t) {
        const __local float *const b_at = ${b} + t * ${b_step};
        const __local float *const a_at = ${a} + t${"" if a_step == 1 else " * %s" % a_step};
% for v in range(vectors):
        const ${V} b${v} = vec_load${W}(b_at + ${v * W});
% endfor
% for r in range(MR):
        {
          const ${V} x = (${V})(a_at[${r} * ${a_row}]);
% for v in range(vectors):
          c${r}_${v} = x * b${v} + c${r}_${v};
% endfor
        }
% endfor
      }
</%def>
<%def name="keep(vectors, to, pitch)">
% for r in range(MR):
% for v in range(vectors):
      vec_store${W}(c${r}_${v}, ${to} + ${r} * ${pitch} + ${v * W});
% endfor
% endfor
</%def>
## rows of `from`, from row `first` of at most `bound`, as panels of NR columns, one after the other: to[panel][d][NR]
<%def name="turn(source, step, loader, first, bound, depth, to)">
    for (int j = 0; j < up; j += ${W}) {
      __local float *const lane = ${to} + (j - j % ${NR}) * ${depth} + j % ${NR};
      int d = 0;
      if (${first} + j + ${W} <= ${bound}) {
        const __global ${S} *const p = ${source} + (${first} + j) * ${step};
        for (; d + ${T} <= ${depth}; d += ${T}) {
<%      statements, turned = transpose([loader("p + %d * %s + d" % (r, step), T) for r in range(W)]) %>\
${statements}
% for i in range(T):
          vec_store${W}(${turned[i]}, lane + (d + ${i}) * ${NR});
% endfor
        }
      }
      for (; d < ${depth}; ++d) {
        for (int r = 0; r < ${W}; ++r) {
          const I row = ${first} + j + r < ${bound} ? ${first} + j + r : ${bound} - 1;
          lane[d * ${NR} + r] = ${loader("%s + row * %s + d" % (source, step), 1)};
        }
      }
    }
</%def>
## one row of `depth` numbers to local memory, up to the pitch filled with zeros
<%def name="copy_row(source, loader, depth, to, factor)">
        {
          const __global ${S} *const p = ${source};
          __local float *const row_to = ${to};
          int d = 0;
          for (; d + ${W} <= ${depth}; d += ${W}) vec_store${W}(${loader("p + d", W)}${factor}, row_to + d);
          for (; d < ${depth}; ++d) row_to[d] = ${loader("p + d", 1)}${factor};
          for (; d < ${PITCH}; ++d) row_to[d] = 0.0f;
        }
</%def>
## the mask of row `i` applied to `n` scores of `row`
<%def name="masking()">
% if mask:
        {
          const __global ${mask_storage} *const m = mask + mask_place + i * mask_l + s0;
          int j = 0;
          for (; j + ${W} <= n; j += ${W}) {
            const ${V} s = vec_load${W}(row + j);
% if mask == "bool":
            vec_store${W}(CONVERT(int${W}, vec_load${W}(m + j)) != 0 ? s : (${V})(-INFINITY), row + j);
% else:
            vec_store${W}(${load_mask("m + j", W)} * 1.44269504f + s, row + j);
% endif
          }
          for (; j < n; ++j)
% if mask == "bool":
            row[j] = m[j] ? row[j] : -INFINITY;
% else:
            row[j] = ${load_mask("m + j", 1)} * 1.44269504f + row[j];
% endif
        }
% endif
</%def>
<%def name="visible()">
% if causal:
        const int seen = (int)(i + 1 - s0), n = seen < sn ? (seen > 0 ? seen : 0) : sn;
% else:
        const int n = sn;
% endif
</%def>
<%def name="forward_body()">
  const I head = get_group_id(1), key_head = head / sharing;
  const I chunk = ${"get_num_groups(0) - 1 - get_group_id(0)" if causal else "get_group_id(0)"};
  __local float *const values = (__local float *)values_memory;
  __local float *const sums = (__local float *)sums_memory;
  __local float *const tops = (__local float *)rows_memory;
  __local float *const totals = tops + chunk_rows;
  __local float *const growth = totals + chunk_rows;
  q += q_offset + batch * q_b + head * q_h;
  k += k_offset + batch * k_b + key_head * k_h;
  v += v_offset + batch * v_b + key_head * v_h;
  out += out_offset + batch * out_b + head * out_h;
  lse += (batch * heads + head) * L;
% if mask:
  const I mask_place = mask_offset + batch * mask_b + head * mask_h;
% endif
  const I l0 = chunk * chunk_rows, l1 = l0 + chunk_rows < L ? l0 + chunk_rows : L;
  const I s_end = ${"l1 < S ? l1 : S" if causal else "S"};
  for (I r = 0; r < l1 - l0; ++r) {
    tops[r] = -INFINITY;
    totals[r] = 0.0f;
  }
  for (I s0 = 0; s0 < s_end; s0 += BK) {
    const int sn = s_end - s0 < BK ? (int)(s_end - s0) : BK;
    const int up = (sn + ${NR - 1}) / ${NR} * ${NR};
    ${turn("k", "k_s", load, "s0", "S", "D", "keys_t")}
    for (int j = 0; j < sn; ++j) ${copy_row("v + (s0 + j) * v_s", load, "DV", "values + j * %d" % PITCH, "")}
    for (I i0 = l0; i0 < l1; i0 += ${MR}) {
% if causal:
      const I reach = i0 + ${MR} - s0;
      if (reach <= 0) continue;
      const int depth = reach < sn ? (int)reach : sn;
% else:
      const int depth = sn;
% endif
      const int width = (depth + ${NR - 1}) / ${NR} * ${NR};
      for (int r = 0; r < ${MR}; ++r) {
        const I i = i0 + r < L ? i0 + r : L - 1;
        ${copy_row("q + i * q_l", load, "D", "queries + r * %d" % PITCH, " * scale")}
      }
      for (int p = 0; p < width; p += ${NR}) {
        ${zero(NV)}
        ${multiply(NV, "queries", PITCH, 1, "(keys_t + p * D)", NR, "0", "D")}
        ${keep(NV, "scores + p", PK)}
      }
      const int rows = i0 + ${MR} < l1 ? ${MR} : (int)(l1 - i0);
      for (int r = 0; r < rows; ++r) {
        __local float *const row = scores + r * ${PK};
        const I i = i0 + r;
        ${visible()}
        ${masking()}
        for (int j = n - n % ${W}; j < width; j += ${W})
          vec_store${W}((int${W})(${iota}) + j < n ? vec_load${W}(row + j) : (${V})(-INFINITY), row + j);
        ${V} most = vec_load${W}(row);
        for (int j = ${W}; j < width; j += ${W}) {
          const ${V} s = vec_load${W}(row + j);
          most = s > most ? s : most;
        }
        const float before = tops[i - l0], here = KERNEL_top(most), top = here > before || here != here ? here : before;
        const float base = top == -INFINITY ? 0.0f : top;
        ${V} total = (${V})(0.0f);
        for (int j = 0; j < width; j += ${W}) {
          const ${V} p = KERNEL_power(vec_load${W}(row + j) - base);
          total += p;
% if dropout:
          vec_store${W}(KERNEL_kept(seed, draw, ((long)(batch * heads + head) * L + i) * S + s0 + j, threshold) ? p : (${V})(0.0f), row + j);
% else:
          vec_store${W}(p, row + j);
% endif
        }
        const float grown = KERNEL_power((${V})(before - base)).s0;
        tops[i - l0] = top;
        totals[i - l0] = totals[i - l0] * grown + KERNEL_sum(total);
        growth[r] = grown;
      }
      for (int c = 0; c < DV; c += ${ND}) {
        __local float *const held = sums + (i0 - l0) * ${PITCH} + c;
        ${zero(NO)}
        if (s0 > 0) {
% for r in range(MR):
          {
            const ${V} x = (${V})(growth[${r}]);
% for w in range(NO):
            c${r}_${w} = vec_load${W}(held + ${r * PITCH + w * W}) * x;
% endfor
          }
% endfor
        }
        ${multiply(NO, "scores", PK, 1, "(values + c)", PITCH, "0", "depth")}
        ${keep(NO, "held", PITCH)}
      }
    }
  }
  for (I i = l0; i < l1; ++i) {
    const float total = totals[i - l0];
    const float factor = total == 0.0f ? 0.0f : rescale / total;
    const __local float *const from = sums + (i - l0) * ${PITCH};
    __global ${S} *const to = out + i * out_l;
    int d = 0;
    for (; d + ${W} <= DV; d += ${W}) ${store(f"vec_load{W}(from + d) * factor", "to + d", W)};
    for (; d < DV; ++d) ${store("from[d] * factor", "to + d", 1)};
    lse[i] = total == 0.0f ? INFINITY : tops[i - l0] + m_log2(total);
  }
</%def>
<%def name="backward_body()">
  const I key_head = get_group_id(1), part = get_group_id(0);
  __local float *const values_t = (__local float *)values_t_memory;
  __local float *const slopes = (__local float *)slopes_memory;
  __local float *const keys = (__local float *)keys_memory;
  __local float *const upstream = (__local float *)upstream_memory;
  __local float *const key_sums = (__local float *)key_sums_memory;
  __local float *const value_sums = (__local float *)value_sums_memory;
  __local float *const bases = (__local float *)rows_memory;
  __local float *const deltas = bases + block_rows + ${MR};
  __local float *const strip_sums = deltas + block_rows + ${MR};
  k += k_offset + batch * k_b + key_head * k_h;
  v += v_offset + batch * v_b + key_head * v_h;
  dk += dk_offset + batch * dk_b + key_head * dk_h;
  dv += dv_offset + batch * dv_b + key_head * dv_h;
  dq += dq_offset + part * dq_part + batch * dq_b;
  const I first = part * part_keys, s_end = first + part_keys < S ? first + part_keys : S;
  for (I s0 = first; s0 < s_end; s0 += BK) {
    const int sn = s_end - s0 < BK ? (int)(s_end - s0) : BK;
    const int up = (sn + ${NR - 1}) / ${NR} * ${NR};
    ${turn("k", "k_s", load, "s0", "S", "D", "keys_t")}
    ${turn("v", "v_s", load, "s0", "S", "DV", "values_t")}
    for (int j = 0; j < sn; ++j) ${copy_row("k + (s0 + j) * k_s", load, "D", "keys + j * %d" % PITCH, "")}
    for (int j = 0; j < (sn + ${MR - 1}) / ${MR} * ${MR * PITCH}; j += ${W}) {
      vec_store${W}((${V})(0.0f), key_sums + j);
      vec_store${W}((${V})(0.0f), value_sums + j);
    }
    for (I head = key_head * sharing; head < (key_head + 1) * sharing; ++head) {
      const __global ${S} *const q_head = q + q_offset + batch * q_b + head * q_h;
      const __global ${S} *const g_head = g + g_offset + batch * g_b + head * g_h;
      const __global ${S} *const out_head = out + out_offset + batch * out_b + head * out_h;
      const __global float *const lse_head = lse + (batch * heads + head) * L;
      __global float *const dq_head = dq + head * dq_h;
% if mask:
      const I mask_place = mask_offset + batch * mask_b + head * mask_h;
% endif
      for (I l0 = ${"s0" if causal else "0"}; l0 < L; l0 += block_rows) {
        const int ln = L - l0 < block_rows ? (int)(L - l0) : (int)block_rows;
        for (int r = 0; r < ln; ++r) {
          ${copy_row("q_head + (l0 + r) * q_l", load, "D", "queries + r * %d" % PITCH, " * scale")}
          ${copy_row("g_head + (l0 + r) * g_l", load, "DV", "upstream + r * %d" % PITCH, " * rescale")}
          const __global ${S} *const o = out_head + (l0 + r) * out_l;
          const __local float *const u = upstream + r * ${PITCH};
          ${V} total = (${V})(0.0f);
          int d = 0;
          for (; d + ${W} <= DV; d += ${W}) total += ${load("o + d", W)} * vec_load${W}(u + d);
          float sum = KERNEL_sum(total);
          for (; d < DV; ++d) sum += ${load("o + d", 1)} * u[d];
          deltas[r] = sum * unscale;
          bases[r] = lse_head[l0 + r];
        }
        for (int r0 = 0; r0 < ln; r0 += ${MR}) {
          const int rows = r0 + ${MR} < ln ? ${MR} : ln - r0;
% if causal:
          const I reach = l0 + r0 + rows - s0;
          const int depth = reach < sn ? (int)reach : sn;
% else:
          const int depth = sn;
% endif
          const int width = (depth + ${NR - 1}) / ${NR} * ${NR};
          for (int which = 0; which < 2; ++which) {
            const __local float *const a = (which ? upstream : queries) + r0 * ${PITCH};
            const __local float *const panels = which ? values_t : keys_t;
            __local float *const to = (which ? slopes : scores) + r0 * ${PK};
            const int deep = which ? DV : D;
            for (int p = 0; p < width; p += ${NR}) {
              ${zero(NV)}
              ${multiply(NV, "a", PITCH, 1, "(panels + p * deep)", NR, "0", "deep")}
              ${keep(NV, "to + p", PK)}
            }
          }
          for (int r = r0; r < r0 + rows; ++r) {
            __local float *const row = scores + r * ${PK};
            __local float *const slope = slopes + r * ${PK};
            const I i = l0 + r;
            ${visible()}
            ${masking()}
            const float base = bases[r], delta = deltas[r];
            for (int j = 0; j < width; j += ${W}) {
              const ${V} s = KERNEL_power(vec_load${W}(row + j) - base);
              const ${V} p = (int${W})(${iota}) + j < n ? s : (${V})(0.0f);
% if dropout:
              const int${W} kept = KERNEL_kept(seed, draw, ((long)(batch * heads + head) * L + i) * S + s0 + j, threshold);
              const ${V} dp = kept ? vec_load${W}(slope + j) : (${V})(0.0f);
              vec_store${W}(kept ? p : (${V})(0.0f), row + j);
% else:
              const ${V} dp = vec_load${W}(slope + j);
              vec_store${W}(p, row + j);
% endif
              vec_store${W}(p * (dp - delta), slope + j);
            }
            for (int j = width; j < width + ${-(-MR // W) * W}; j += ${W}) {
              vec_store${W}((${V})(0.0f), row + j);
              vec_store${W}((${V})(0.0f), slope + j);
            }
          }
          for (int c = 0; c < D; c += ${ND}) {
            ${zero(NO)}
            ${multiply(NO, "(slopes + r0 * %d)" % PK, PK, 1, "(keys + c)", PITCH, "0", "depth")}
            ${keep(NO, "strip_sums", ND)}
            for (int r = 0; r < rows; ++r) {
              const __local float *const from = strip_sums + r * ${ND};
              __global float *const to = dq_head + (l0 + r0 + r) * dq_l + c;
              const int more = D - c < ${ND} ? D - c : ${ND};
              int d = 0;
              if (s0 == first) {
                for (; d + ${W} <= more; d += ${W}) vec_store${W}(vec_load${W}(from + d) * factor, to + d);
                for (; d < more; ++d) to[d] = from[d] * factor;
              } else {
                for (; d + ${W} <= more; d += ${W}) vec_store${W}(vec_load${W}(from + d) * factor + vec_load${W}(to + d), to + d);
                for (; d < more; ++d) to[d] = from[d] * factor + to[d];
              }
            }
          }
        }
        for (int which = 0; which < 2; ++which) {
          const __local float *const b = which ? queries : upstream;
          __local float *const kept_sums = which ? key_sums : value_sums;
          const int deep = which ? D : DV;
          for (int j = 0; j < sn; j += ${MR}) {
            const __local float *const a = (which ? slopes : scores) + j;
% if causal:
            const int begin = s0 + j > l0 ? (int)(s0 + j - l0) : 0;
            if (begin >= ln) break;
% endif
            for (int c = 0; c < deep; c += ${ND}) {
              __local float *const held = kept_sums + j * ${PITCH} + c;
% for r in range(MR):
              ${V} ${", ".join("c%d_%d = vec_load%d(held + %d)" % (r, w, W, r * PITCH + w * W) for w in range(NO))};
% endfor
              ${multiply(NO, "a", 1, PK, "(b + c)", PITCH, "begin" if causal else "0", "ln")}
              ${keep(NO, "held", PITCH)}
            }
          }
        }
      }
    }
    for (int j = 0; j < sn; ++j) {
      const __local float *const from_k = key_sums + j * ${PITCH};
      const __local float *const from_v = value_sums + j * ${PITCH};
      __global ${S} *const to_k = dk + (s0 + j) * dk_s;
      __global ${S} *const to_v = dv + (s0 + j) * dv_s;
      int d = 0;
      for (; d + ${W} <= D; d += ${W}) ${store(f"vec_load{W}(from_k + d) * 0.693147181f", "to_k + d", W)};
      for (; d < D; ++d) ${store("from_k[d] * 0.693147181f", "to_k + d", 1)};
      d = 0;
      for (; d + ${W} <= DV; d += ${W}) ${store(f"vec_load{W}(from_v + d)", "to_v + d", W)};
      for (; d < DV; ++d) ${store("from_v[d]", "to_v + d", 1)};
    }
  }
</%def>
