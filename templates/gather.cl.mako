## Gather: out[w] = in[base(w) + sum_k wrap(index_k[w]) * step_k] for every position w of the output.
##
## One form for gather, index_select, embedding and advanced indexing: they differ in strides only. An index that does not vary
## along the inner dim is read once per row; if none does and both sides are contiguous there, the row is copied with vectors.
## A negative index counts from the end; one outside its dim reads nothing and gives `poison`.
## Geometry: Split of walk.py over rows x inner of the output. Traffic: output once, indices once, the gathered elements.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} o = out_offset, s = in_offset;
% for k in range(len(hoisted)):
    ${I} p${k} = i${k}_offset;
% endfor
    ${locate_row}
    int row_ok = 1;
% for k, fixed in enumerate(hoisted):
% if fixed:
    { long at = i${k}[p${k}];
      at += at < 0 ? n${k} : 0;
      row_ok &= (ulong)at < (ulong)n${k};
      s += (${I})(row_ok ? at : 0) * m${k}; }
% endif
% endfor
    ${I} j = begin;
% if all(hoisted):
    if (!row_ok) {
      for (; j < end; j++) out[o + j * out_inner] = (${T})poison;
      continue;
    }
% if fetch:
    // while this row is copied, the next one's lines are asked for
    ${I} ahead = s;
    if (row + 1 < row_end) {
      long at = i0[p0 + i0_s0];
      at += at < 0 ? n0 : 0;
      if ((ulong)at < (ulong)n0) ahead = in_offset + (row + 1) * in_s0 + (${I})at * m0;
    }
    for (; j + ${lanes} <= end; j += ${lanes}) {
      PREFETCH(in + ahead + j);
      vec_store${lanes}(vec_load${lanes}(in + s + j), out + o + j);
    }
% elif lanes > 1:
    for (; j + ${lanes} <= end; j += ${lanes}) vec_store${lanes}(vec_load${lanes}(in + s + j), out + o + j);
% endif
    for (; j < end; j++) out[o + j * out_inner] = in[s + j * in_inner];
% else:
    for (; j < end; j++) {
      ${I} q = s + j * in_inner;
      int ok = row_ok;
% for k, fixed in enumerate(hoisted):
% if not fixed:
      { long at = i${k}[p${k} + j * i${k}_inner];
        at += at < 0 ? n${k} : 0;
        ok &= (ulong)at < (ulong)n${k};
        q += (${I})(ok ? at : 0) * m${k}; }
% endif
% endfor
      ${T} v = (${T})poison;
      if (ok) v = in[q];
      out[o + j * out_inner] = v;
    }
% endif
  }
}
