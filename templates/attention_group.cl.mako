## Attention on GPUs in flash form: a work-group of `items` shares a ${"B x B"} tile of scores in local memory.
##
## forward    group = (block of B queries, head, batch): for each block of keys scores, online softmax, weighted values.
## queries    the same grid: dq of B queries, over all blocks of keys.
## keys       group = (block of B keys, key head, batch): dk and dv, over all blocks of queries of all heads that share them.
##
## Scores are computed again in both backward stages, so that nothing is added from two groups; powers and lse are of two.
## Source: Dao, FlashAttention-2, 2023.
<%def name="place(name, head, letter)">${name}_offset + batch * ${name}_b + ${head} * ${name}_h</%def>
% if dropout:
INLINE int KERNEL_kept(long seed, long offset, long number, uint threshold) {
  return (rand_bits(seed, offset, number) >> 8) >= threshold;
}
% endif
__kernel __attribute__((reqd_work_group_size(${items}, 1, 1)))
void KERNEL(${parameters}) {
  __local float scores[${B * B}], tops[${B}], totals[${B}], growth[${B}];
% if stage != "forward":
  __local float slopes[${B * B}];
% endif
  const int item = get_local_id(0);
  const I block = get_group_id(0), batch = get_group_id(2);
% if stage == "keys":
  const I key_head = get_group_id(1), s0 = block * ${B};
  const int sn = S - s0 < ${B} ? (int)(S - s0) : ${B};
  const __global ${S} *const k_head = k + ${place("k", "key_head", "s")};
  const __global ${S} *const v_head = v + ${place("v", "key_head", "s")};
  for (I e = item; e < ${B} * (D + DV); e += ${items}) sums[e] = 0.0f;
  for (I head = key_head * sharing; head < (key_head + 1) * sharing; ++head) {
    const __global ${S} *const q_head = q + ${place("q", "head", "l")};
    for (I l0 = ${f"s0 / {B} * {B}" if causal else "0"}; l0 < L; l0 += ${B}) {
      const int ln = L - l0 < ${B} ? (int)(L - l0) : ${B};
      ${facts()}
      ${shares()}
      barrier(CLK_LOCAL_MEM_FENCE);
      for (I e = item; e < sn * (D + DV); e += ${items}) {
        const int j = (int)(e / (D + DV));
        const I d = e % (D + DV);
        float sum = sums[e];
        if (d < D)
          for (int r = 0; r < ln; ++r) sum += slopes[r * ${B} + j] * ${load("q_head + (l0 + r) * q_l + d", 1)};
        else
          for (int r = 0; r < ln; ++r) sum += scores[r * ${B} + j] * ${load("g_head + (l0 + r) * g_l + d - D", 1)};
        sums[e] = sum;
      }
      barrier(CLK_LOCAL_MEM_FENCE);
    }
  }
  for (I e = item; e < sn * (D + DV); e += ${items}) {
    const I j = e / (D + DV), d = e % (D + DV);
    if (d < D)
      ${store("sums[e] * factor", "dk + " + capture(place, "dk", "key_head", "s") + " + (s0 + j) * dk_s + d", 1)};
    else
      ${store("sums[e] * rescale", "dv + " + capture(place, "dv", "key_head", "s") + " + (s0 + j) * dv_s + d - D", 1)};
  }
% else:
  const I head = get_group_id(1), key_head = head / sharing, l0 = block * ${B};
  const int ln = L - l0 < ${B} ? (int)(L - l0) : ${B};
  const I s_end = ${"l0 + ln < S ? l0 + ln : S" if causal else "S"};
  const __global ${S} *const q_head = q + ${place("q", "head", "l")};
  const __global ${S} *const k_head = k + ${place("k", "key_head", "s")};
  const __global ${S} *const v_head = v + ${place("v", "key_head", "s")};
<% wide = "DV" if stage == "forward" else "D" %>\
  for (I e = item; e < ${B} * ${wide}; e += ${items}) sums[e] = 0.0f;
% if stage == "forward":
  for (int r = item; r < ${B}; r += ${items}) {
    tops[r] = -INFINITY;
    totals[r] = 0.0f;
  }
% else:
  ${facts()}
% endif
  for (I s0 = 0; s0 < s_end; s0 += ${B}) {
    const int sn = s_end - s0 < ${B} ? (int)(s_end - s0) : ${B};
    ${shares()}
    barrier(CLK_LOCAL_MEM_FENCE);
% if stage == "forward":
    for (int r = item; r < ln; r += ${items}) {
      float here = tops[r];
      for (int j = 0; j < sn; ++j) here = scores[r * ${B} + j] > here || scores[r * ${B} + j] != scores[r * ${B} + j] ? scores[r * ${B} + j] : here;
      const float base = here == -INFINITY ? 0.0f : here;
      float total = 0.0f;
      for (int j = 0; j < sn; ++j) {
        const float p = m_exp2(scores[r * ${B} + j] - base);
        total += p;
% if dropout:
        scores[r * ${B} + j] = KERNEL_kept(seed, draw, ((long)(batch * heads + head) * L + l0 + r) * S + s0 + j, threshold) ? p : 0.0f;
% else:
        scores[r * ${B} + j] = p;
% endif
      }
      growth[r] = m_exp2(tops[r] - base);
      totals[r] = totals[r] * growth[r] + total;
      tops[r] = here;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (I e = item; e < ln * DV; e += ${items}) {
      const int r = (int)(e / DV);
      const I d = e % DV;
      float sum = sums[e] * growth[r];
      for (int j = 0; j < sn; ++j) sum += scores[r * ${B} + j] * ${load("v_head + (s0 + j) * v_s + d", 1)};
      sums[e] = sum;
    }
% else:
    for (I e = item; e < ln * D; e += ${items}) {
      const int r = (int)(e / D);
      const I d = e % D;
      float sum = sums[e];
      for (int j = 0; j < sn; ++j) sum += slopes[r * ${B} + j] * ${load("k_head + (s0 + j) * k_s + d", 1)};
      sums[e] = sum;
    }
% endif
    barrier(CLK_LOCAL_MEM_FENCE);
  }
% if stage == "forward":
  for (I e = item; e < ln * DV; e += ${items}) {
    const int r = (int)(e / DV);
    const I d = e % DV;
    ${store("(totals[r] == 0.0f ? 0.0f : sums[e] * rescale / totals[r])", "out + " + capture(place, "out", "head", "l") + " + (l0 + r) * out_l + d", 1)};
  }
  for (int r = item; r < ln; r += ${items})
    lse[(batch * heads + head) * L + l0 + r] = totals[r] == 0.0f ? INFINITY : tops[r] + m_log2(totals[r]);
% else:
  for (I e = item; e < ln * D; e += ${items}) {
    const I r = e / D, d = e % D;
    ${store("sums[e] * factor", "dq + " + capture(place, "dq", "head", "l") + " + (l0 + r) * dq_l + d", 1)};
  }
% endif
% endif
}
## lse and delta = rowsum(g out) of the block's rows, as tops and totals
<%def name="facts()">
  const __global ${S} *const g_head = g + ${place("g", "head", "l")};
  const __global ${S} *const out_head = out + ${place("out", "head", "l")};
  for (int r = item; r < ln; r += ${items}) {
    float delta = 0.0f;
    for (I d = 0; d < DV; ++d) delta += ${load("g_head + (l0 + r) * g_l + d", 1)} * ${load("out_head + (l0 + r) * out_l + d", 1)};
    tops[r] = lse[(batch * heads + head) * L + l0 + r];
    totals[r] = delta;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
</%def>
## scores of the tile, in backward stages also turned into shares, and slopes
<%def name="shares()">
    for (int e = item; e < ${B * B}; e += ${items}) {
      const int r = e / ${B}, j = e % ${B};
      const I i = l0 + r, key = s0 + j;
      float s = -INFINITY;
% if stage != "forward":
      float slope = 0.0f;
% endif
      if (r < ln && j < sn${" && key <= i" if causal else ""}) {
        const __global ${S} *const q_row = q_head + i * q_l;
        const __global ${S} *const k_row = k_head + key * k_s;
        s = 0.0f;
        for (I d = 0; d < D; ++d) s += ${load("q_row + d", 1)} * ${load("k_row + d", 1)};
        s *= scale;
% if mask == "bool":
        s = mask[mask_offset + batch * mask_b + head * mask_h + i * mask_l + key] ? s : -INFINITY;
% elif mask:
        s += ${load_mask("mask + mask_offset + batch * mask_b + head * mask_h + i * mask_l + key", 1)} * 1.44269504f;
% endif
% if stage != "forward":
        s = m_exp2(s - tops[r]);
        const __global ${S} *const g_row = g_head + i * g_l;
        const __global ${S} *const v_row = v_head + key * v_s;
        for (I d = 0; d < DV; ++d) slope += ${load("g_row + d", 1)} * ${load("v_row + d", 1)};
        slope *= rescale;
% if dropout:
        const int kept = KERNEL_kept(seed, draw, ((long)(batch * heads + head) * L + i) * S + key, threshold);
        slope = s * ((kept ? slope : 0.0f) - totals[r]);
        s = kept ? s : 0.0f;
% else:
        slope = s * (slope - totals[r]);
% endif
% endif
      }
% if stage == "forward":
      scores[e] = s;
% else:
      scores[e] = r < ln && j < sn${" && key <= i" if causal else ""} ? s : 0.0f;
      slopes[e] = slope;
% endif
    }
</%def>
