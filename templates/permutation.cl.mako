## The row order that a factorization's swaps make: order[i] is the row of A that became row i. One work-item per matrix.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  const ${I} first = (${I})get_global_id(0) * per_item;
  const ${I} last = first + per_item < matrices ? first + per_item : matrices;
  for (${I} matrix = first; matrix < last; ++matrix) {
    __global long *rows = order + matrix * m;
    for (${I} i = 0; i < m; ++i) rows[i] = i;
    for (${I} j = 0; j < steps; ++j) {
      const ${I} at = pivots[pivots_offset + matrix * steps + j] - 1;
      if (at < 0 || at >= m) continue;  // no pivot of ours: out of range
      const long held = rows[j];
      rows[j] = rows[at];
      rows[at] = held;
    }
  }
}
