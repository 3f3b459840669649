## Sets `count` contiguous elements to one value: clears scratch memory. Geometry: Split of walk.py, one row. Traffic: once.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++)
    for (${I} j = begin; j < end; j++) out[row * inner + j] = (${T})number;
}
