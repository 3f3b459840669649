## Mean pooling over planes or volumes, forward, one dim after the other: for windows that are adaptive or further than 2 apart.
##
## Algorithm: rows of output pixels. The rows of a window are added up by vectors into a line as wide as the input, of which every output
## pixel then adds its part and divides by what its window counts. Columns in blocks, so that the line fits in local memory; where a
## column's window begins and ends is worked out once per block.
## Geometry: Split of walk.py over planes x out_d x out_h rows of out_w pixels. Traffic: input once (windows overlap in cache), output once.
## Source: He et al. 2015 for adaptive windows ([floor(i*n/m), ceil((i+1)*n/m)), as spatial pyramid pooling).
<%
def window(out, size, d):
    """Statements that declare where the window `out` begins and ends along one dim, and how much of it counts."""
    a, b, n = f"{size}_begin", f"{size}_end", f"{size}_count"
    if adaptive:
        return (f"const int {a} = (int)(({L}){out} * in_{size} / out_{size}), "
                f"{b} = (int)((({L})({out} + 1) * in_{size} + out_{size} - 1) / out_{size}), {n} = {b} - {a};")
    return (f"const int {size}_first = (int){out} * {stride[d]} - pad_{size}, {size}_last = {size}_first + {kernel[d]}; "
            f"const int {a} = {size}_first > 0 ? {size}_first : 0, {b} = {size}_last < in_{size} ? {size}_last : in_{size}; "
            f"const int {n} = " + (f"({size}_last < in_{size} + pad_{size} ? {size}_last : in_{size} + pad_{size}) - {size}_first;"
                                   if include_pad else f"{b} - {a};"))
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${RV})))
void KERNEL(${parameters}, __local ${R} *line, __local ${R} *share, __local int *edges, const int columns) {
  ${span}
  for (${I} o0 = begin; o0 < end; o0 += columns) {
    const int wide = (int)(end - o0 < columns ? end - o0 : columns);
    for (int o = 0; o < wide; o++) {
      ${window("(o0 + o)", "w", 2)}
      edges[2 * o] = w_begin;
      edges[2 * o + 1] = w_end;
      share[o] = divisor ? 1 : w_count;
    }
    const int x0 = edges[0], length = edges[2 * wide - 1] - x0;
    for (${I} row = row_begin; row < row_end; row++) {
      const ${I} plane = row / out_h / out_d;
      const int oz = (int)(row / out_h - plane * out_d), oy = (int)(row % out_h);
      ${I} in_plane = in_offset, out_plane = out_offset;
      ${locate_plane}
      ${window("oz", "d", 0)}
      ${window("oy", "h", 1)}
      for (int x = 0; x < length; x += ${lanes}) vec_store${lanes}((${RV})(0), line + x);
      for (int z = d_begin; z < d_end; z++)
        for (int y = h_begin; y < h_end; y++) {
          __global const ${storage} *from = in + in_plane + (${I})z * in_sd + (${I})y * in_sh + (${I})x0 * in_sw;
          int x = 0;
% if plain:
          for (; x + ${lanes} <= length; x += ${lanes}) vec_store${lanes}(vec_load${lanes}(line + x) + ${load_vector}, line + x);
% endif
          for (; x < length; x++) {
            __global const ${storage} *q = from + (${I})x * in_sw;
            line[x] += ${load_pixel};
          }
        }
      const ${R} area = divisor ? divisor : d_count * h_count;
      for (int o = 0; o < wide; o++) {
        ${R} sum = 0;
        for (int x = edges[2 * o]; x < edges[2 * o + 1]; x++) sum += line[x - x0];
        const ${R} best = sum / (area * share[o]);
        const ${I} x = o0 + o;
        ${store_pixel};
      }
    }
  }
}
