## Inclusive scan along one dim: running sum, product, maximum, minimum (with positions) or log-sum-exp, forwards or backwards.
##
## A work-item goes along the scanned dim once, `lanes` neighbouring rows at a time where they are contiguous (columns), or with an in-register
## prefix of `prefix` elements where the scanned dim itself is. Long rows of which there are few are cut into chunks:
##   totals  every chunk's combination, to scratch        finish  the chunk again, beginning with the totals before it
## Order of summation is fixed, so results are reproducible. Geometry: Split of walk.py over rows x inner, times chunks.
## Traffic: input once (twice if chunked), output once. Source: Blelloch 1990; Hillis and Steele 1986 (in-register prefix).
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
% if chunked:
  const ${I} piece = (${I})(get_global_id(0) % pieces);
  const ${I} t_begin = piece * piece_length, t_stop = t_begin + piece_length, t_end = t_stop < length ? t_stop : length;
% else:
  const ${I} t_begin = 0, t_end = length;
% endif
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} x_row = x_offset, y_row = y_offset;
% if indexed:
    ${I} at_row = at_offset;
% endif
    ${locate_row}
    ${I} j = begin;
% if lanes > 1:
    for (; j + ${lanes} <= end; j += ${lanes}) { ${column(lanes)} }
% endif
    for (; j < end; j++) { ${column(1)} }
  }
}
<%def name="column(w)"><% RW = R if w == 1 else f"{R}{w}" %>
      ${RW} carry = ${identity};
% if indexed:
      long where = 0;
% endif
% if stage == "finish":
      for (${I} p = 0; p < piece; p++) {
        const ${I} slot = (row * inner + j) * pieces + p;
        const ${R} v = totals[slot];
% if indexed:
        if (${takes}) { carry = v; where = places[slot]; }
% else:
        carry = ${combine};
% endif
      }
% endif
      ${I} t = t_begin;
% if prefix > 1 and w == 1:
      for (; t + ${prefix} <= t_end; t += ${prefix}) {
% if reverse:
        ${R}${prefix} v = ${load_run_back};
        v = v.s${"".join("0123456789abcdef"[prefix - 1 - i] for i in range(prefix))};
% else:
        ${R}${prefix} v = ${load_run};
% endif
<% step = 1 %>
% while step < prefix:
        v = v ${operator} (${R}${prefix})(${", ".join([str(neutral)] * step + [f"v.s{'0123456789abcdef'[i]}" for i in range(prefix - step)])});
<% step *= 2 %>
% endwhile
        v = v ${operator} carry;
        carry = v.s${"0123456789abcdef"[prefix - 1]};
% if stage != "totals":
% if reverse:
        v = v.s${"".join("0123456789abcdef"[prefix - 1 - i] for i in range(prefix))};
        ${store_run_back};
% else:
        ${store_run};
% endif
% endif
      }
% endif
      for (; t < t_end; t++) {
        const ${I} i = ${"length - 1 - t" if reverse else "t"};
        const ${RW} v = ${load_one if w == 1 else load_wide};
% if indexed:
        if (${takes}) { carry = v; where = i; }
% else:
        carry = ${combine};
% endif
% if stage != "totals":
        ${store_one if w == 1 else store_wide};
% if indexed:
        at[at_row + j * at_inner + i * at_step] = where;
% endif
% endif
      }
% if stage == "totals":
      totals[(row * inner + j) * pieces + piece] = carry;
% if indexed:
      places[(row * inner + j) * pieces + piece] = where;
% endif
% endif
</%def>
