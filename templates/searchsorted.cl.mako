## Binary search of each value in its sorted row: the first position whose element is >= the value (right: > the value).
## NaN sorts last. Geometry: Split of walk.py over rows x inner of the values. Traffic: values and result once, log2(n) reads each.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} s_row = sorted_offset, v_row = values_offset, o_row = out_offset;
    ${locate_row}
    for (${I} j = begin; j < end; j++) {
      const ${R} v = ${load_value};
      const ${I} s = s_row + j * sorted_inner;
      ${I} low = 0, high = length;
      while (low < high) {
        const ${I} middle = low + (high - low) / 2;
        const ${R} x = ${load_sorted};
        if (${"!(x > v)" if right else "!(x >= v)"}) low = middle + 1;
        else high = middle;
      }
      out[o_row + j * out_inner] = low;
    }
  }
}
