## Maximum pooling over planes or volumes with positions, one dim after the other: for windows that are adaptive or further than 2 apart.
##
## Algorithm: rows of output pixels. By vectors, the rows of a window give for every column of the input its maximum and the row that it
## stands in; every output pixel then looks at its columns. The order of the whole window is kept: of equal values the first wins, of
## NaNs the last. Columns in blocks, so that lines fit in local memory.
## Geometry: Split of walk.py over planes x out_d x out_h rows of out_w pixels. Traffic: input once (windows overlap in cache), outputs once.
## Source: He et al. 2015 for adaptive windows ([floor(i*n/m), ceil((i+1)*n/m)), as spatial pyramid pooling).
<%
def window(out, size, d):
    """Statements that declare where the window `out` begins and ends along one dim."""
    a, b = f"{size}_begin", f"{size}_end"
    if adaptive:
        return (f"const int {a} = (int)(({L}){out} * in_{size} / out_{size}), "
                f"{b} = (int)((({L})({out} + 1) * in_{size} + out_{size} - 1) / out_{size});")
    step = dilation[d]
    return (f"const int {size}_first = (int){out} * {stride[d]} - pad_{size}, {size}_last = {size}_first + {(kernel[d] - 1) * step + 1}; "
            f"const int {a} = {size}_first < 0 ? {size}_first + (-{size}_first + {step - 1}) / {step} * {step} : {size}_first; "
            f"const int {b} = {size}_last < in_{size} ? {size}_last : in_{size};")
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${RV})))
void KERNEL(${parameters}, __local ${R} *line, __local ${IT} *stood, __local int *edges, const int columns) {
  ${span}
  for (${I} o0 = begin; o0 < end; o0 += columns) {
    const int wide = (int)(end - o0 < columns ? end - o0 : columns);
    for (int o = 0; o < wide; o++) {
      ${window("(o0 + o)", "w", 2)}
      edges[2 * o] = w_begin;
      edges[2 * o + 1] = w_end;
    }
% if adaptive:
    const int x0 = edges[0];
% else:
    const int left = (int)o0 * ${stride[2]} - pad_w, x0 = left > 0 ? left : 0;  // with gaps between taps a later window may begin earlier
% endif
    const int length = edges[2 * wide - 1] - x0;
    for (${I} row = row_begin; row < row_end; row++) {
      const ${I} plane = row / out_h / out_d;
      const int oz = (int)(row / out_h - plane * out_d), oy = (int)(row % out_h);
      ${I} in_plane = in_offset, out_plane = out_offset, at_plane = at_offset;
      ${locate_plane}
      ${window("oz", "d", 0)}
      ${window("oy", "h", 1)}
      for (int x = 0; x < length; x += ${lanes}) {
        vec_store${lanes}((${RV})(${start}), line + x);
        vec_store${lanes}((${IV})(d_begin * in_h + h_begin), stood + x);
      }
      for (int z = d_begin; z < d_end; z += ${1 if adaptive else dilation[0]})
        for (int y = h_begin; y < h_end; y += ${1 if adaptive else dilation[1]}) {
          __global const ${storage} *from = in + in_plane + (${I})z * in_sd + (${I})y * in_sh + (${I})x0 * in_sw;
          int x = 0;
% if plain:
          for (; x + ${lanes} <= length; x += ${lanes}) {
            const ${RV} v = ${load_vector}, best = vec_load${lanes}(line + x);
            const ${IV} take = (v > best) | (v != v);
            vec_store${lanes}(take ? v : best, line + x);
            vec_store${lanes}(take ? (${IV})(z * in_h + y) : vec_load${lanes}(stood + x), stood + x);
          }
% endif
          for (; x < length; x++) {
            __global const ${storage} *q = from + (${I})x * in_sw;
            const ${R} v = ${load_pixel};
            if (v > line[x] || v != v) { line[x] = v; stood[x] = z * in_h + y; }
          }
        }
      for (int o = 0; o < wide; o++) {
        int t = edges[2 * o] - x0;
        ${R} best = line[t];
        ${IT} found = stood[t];
        int column = t;
        for (t += ${1 if adaptive else dilation[2]}; t < edges[2 * o + 1] - x0; t += ${1 if adaptive else dilation[2]}) {
          const ${R} v = line[t];
          const ${IT} stands = stood[t];
          // before: in the order of the window; among numbers the larger wins, then the first; a NaN beats numbers and earlier NaNs
          const int nan = v != v, nan_best = best != best;
          if (nan ? !nan_best || stands >= found : !nan_best && (v > best || (v == best && stands < found))) {
            best = v; found = stands; column = t;
          }
        }
        const ${I} x = o0 + o;
        ${store_pixel};
        at[at_plane + oz * at_sd + oy * at_sh + x * at_sw] = (long)found * in_w + column + x0;
      }
    }
  }
}
