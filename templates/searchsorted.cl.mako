## Binary search of each value in its sorted row: the first position whose element is >= the value (right: > the value).
## NaN sorts last. Geometry: Split of walk.py over rows x inner of the values. Traffic: values and result once, log2(n) reads each.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    ${I} s_row = sorted_offset, v_row = values_offset, o_row = out_offset;
    ${locate_row}
    ${I} j = begin;
## Halving without branches, which would go either way like a coin; a step waits for the one before, so ${together} searches go
## side by side. In vectors, because compilers turn a scalar choice back into a branch.
<%def name="each(text)">\
${"(" + R + str(together) + ")(" + ", ".join(text(q) for q in range(together)) + ")"}\
</%def>\
% if together > 1:
    for (; j + ${together} <= end; j += ${together}) {
      const ${R}${together} v = ${each(lambda q: load_value(f"(j + {q})"))};
      const ${I} s = s_row + j * sorted_inner;
      ${L}${together} low = 0;
      ${I} left = length;
      while (left > 0) {
        const ${I} step = left > 1 ? left / 2 : 1, ahead = left > 1 ? step - 1 : 0;
        const ${R}${together} x = ${each(lambda q: load_sorted(f"s + {q} * sorted_inner + (({I})low.s{q} + ahead) * sorted_step"))};
        low += (${passed}) & (${L})step;
        left = left > 1 ? left - step : 0;
      }
% for q in range(together):
      out[o_row + (j + ${q}) * out_inner] = low.s${q};
% endfor
    }
% endif
    for (; j < end; j++) {
      const ${R} v = ${load_value("j")};
      const ${I} s = s_row + j * sorted_inner;
      ${I} low = 0, high = length;
      while (low < high) {
        const ${I} middle = low + (high - low) / 2;
        const ${R} x = ${load_sorted("s + middle * sorted_step")};
        if (${passed}) low = middle + 1;
        else high = middle;
      }
      out[o_row + j * out_inner] = low;
    }
  }
}
