## Last step of scatter_reduce with 'mean': dst = sum / count where anything was added; integers round towards minus infinity.
## Geometry: Split of walk.py over rows x inner of dst; `counts` is contiguous. Traffic: dst twice, counts once.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} d = dst_offset;
    ${locate_row}
    for (${I} j = begin; j < end; j++) {
      const int added = counts[row * inner + j];
      if (added == 0) continue;
      __global ${storage} *const q = dst + d + j * dst_inner;
      const ${R} sum = ${load_q}, by = (${R})(added + itself);
      ${R} mean = sum / by;
% if integral:
      mean -= (${R})(mean * by > sum);
% endif
      ${store_q};
    }
  }
}
