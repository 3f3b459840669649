## Scatter: dst[base(w) + sum_k wrap(index_k[w]) * step_k] = combine(dst[...], src[w]) for every position w of the indices.
##
## One form for scatter, scatter_add, scatter_reduce, index_put, index_add, index_copy and index_fill. Deterministic without
## atomics, by ownership: the dims of w are `owner` dims (each position owns a part of dst that no other reaches) and `list`
## dims (along which indices may collide). A work-item takes owner positions and goes through the list in order, so the last
## write wins and sums have one order. With few owners, several work-items share one: each keeps to a range of
## destinations. Single elements are combined without a branch then, which would be taken at random.
## A negative index counts from the end; one outside its dim writes nothing.
## Geometry: Split of walk.py over owner rows x inner, times `ranges`. Traffic: indices once per owner group and range, src once,
## dst's touched elements once or twice (cached).
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
% if ranged:
  const long low = (long)(get_global_id(0) % ranges) * range_size, high = low + range_size;
% if clamped:
  if (low >= n0) return;
  const int spread = low + 64 <= n0 && low + 64 <= high ? 63 : 0;
% endif
% endif
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} d_row = dst_offset;
% if tensor:
    ${I} s_row = src_offset;
% endif
% for k in range(count):
    ${I} p${k}_row = i${k}_offset;
% endfor
    ${locate_row}
    for (${I} item_of_list = list_begin; item_of_list < list_end; item_of_list++) {
      ${I} d = d_row;
% if tensor:
      ${I} s = s_row;
% endif
% for k in range(count):
      ${I} p${k} = p${k}_row;
% endfor
      ${locate_list}
% if hoisted:
      ${target("")}
      if (!ok) continue;
      ${I} j = begin;
% if lanes > 1:
      for (; j + ${lanes} <= end; j += ${lanes}) { ${update_vector} }
% endif
      for (; j < end; j++) {
        __global ${storage} *const q = dst + d + j * dst_inner;
        ${update}
      }
% else:
      ${"{ const %s j = 0;" % I if single else "for (%s j = begin; j < end; j++) {" % I}
        ${I} d_here = d;
        ${target(True)}
% if not clamped:
        if (!ok) continue;
% endif
        __global ${storage} *const q = dst + d_here + j * dst_inner;
        ${update_or_keep if clamped else update}
      }
% endif
    }
  }
}
<%def name="target(inner)">
      int ok = 1;
% if ranged and not clamped:
      long key = 0;
% endif
% for k in range(count):
      { long at = i${k}[p${k}${f" + j * i{k}_inner" if inner else ""}];
        at += at < 0 ? n${k} : 0;
% if clamped:
        // No branch, which would be taken at random: what belongs to others leaves one of the range's own first elements
        // as it is, a different one each time, since a load from where was just stored has to wait.
        ok &= at >= low && at < high && at < n0;
        ${"d_here" if inner else "d"} += (${I})(ok ? at : low + (item_of_list & spread)) * m${k}; }
% else:
        ok &= (ulong)at < (ulong)n${k};
% if ranged:
        key = key * n${k} + at;
% endif
        ${"d_here" if inner else "d"} += (${I})(ok ? at : 0) * m${k}; }
% endif
% endfor
% if ranged and not clamped:
      ok &= key >= low && key < high;
% endif
</%def>
