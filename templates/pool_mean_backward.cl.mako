## Gradient of mean pooling over planes or volumes, one dim after the other. No atomics, one writer per pixel.
##
## Algorithm: rows of input pixels. The gradients of the rows of windows that cover a row, each divided by what its window counts, are added
## up by vectors into a line as wide as the output; every pixel then adds the part of that line whose windows cover it. Rows covered by
## the same windows (all of a window's rows, where windows do not overlap) are computed once and copied. Columns in blocks, so that lines
## fit in local memory; which windows cover a column is worked out once per block.
## Geometry: Split of walk.py over planes x in_d x in_h rows of in_w pixels. Traffic: gradients once (cached), result once.
<%
def covering(place, size, d):
    """Statements that declare the range of windows that cover `place`."""
    if adaptive:
        return (f"const int {size}_begin = (int)(({L}){place} * out_{size} / in_{size}), "
                f"{size}_end = (int)((({L})({place} + 1) * out_{size} + in_{size} - 1) / in_{size});")
    step = stride[d]
    return (f"const int {size}_low = (int){place} + pad_{size} - {kernel[d] - 1}, {size}_last = ((int){place} + pad_{size}) / {step} + 1; "
            f"const int {size}_begin = {size}_low > 0 ? ({size}_low + {step - 1}) / {step} : 0, "
            f"{size}_end = {size}_last < out_{size} ? {size}_last : out_{size};")
def extent(out, size, d):
    """How many places the window `out` counts along one dim."""
    if adaptive:
        return f"((int)((({L})({out} + 1) * in_{size} + out_{size} - 1) / out_{size}) - (int)(({L}){out} * in_{size} / out_{size}))"
    first = f"({out} * {stride[d]} - pad_{size})"
    bound = f"in_{size} + pad_{size}" if include_pad else f"in_{size}"
    begin = first if include_pad else f"({first} > 0 ? {first} : 0)"
    return f"(({first} + {kernel[d]} < {bound} ? {first} + {kernel[d]} : {bound}) - {begin})"
%>
__kernel __attribute__((reqd_work_group_size(1, 1, 1), vec_type_hint(${RV})))
void KERNEL(${parameters}, __local ${R} *line, __local ${R} *owed, __local ${R} *share, __local int *edges, const int columns) {
  ${span}
  for (${I} x0 = begin; x0 < end; x0 += columns) {
    const int wide = (int)(end - x0 < columns ? end - x0 : columns);
    for (int i = 0; i < wide; i++) {
      ${covering("(x0 + i)", "w", 2)}
      edges[2 * i] = w_begin;
      edges[2 * i + 1] = w_end;
    }
% if unit:
    // a window per column: the line of windows begins so that column i adds up the ${kernel[2]} windows from place i on
    const int o0 = (int)x0 + pad_w - ${kernel[2] - 1}, length = wide + ${kernel[2] - 1};
% else:
    const int o0 = edges[0], length = edges[2 * wide - 1] - o0;
% endif
    const int o_first = o0 > 0 ? 0 : -o0, o_last = out_w - o0 < length ? out_w - o0 : length;
    for (int o = o_first; o < o_last; o++) share[o] = divisor ? 1 : ${extent("(o0 + o)", "w", 2)};
    ${I} known = -1;
    int known_d = -1, known_h = -1, known_d_end = -1, known_h_end = -1;
    for (${I} row = row_begin; row < row_end; row++) {
      const ${I} plane = row / in_h / in_d;
      const int z = (int)(row / in_h - plane * in_d), y = (int)(row % in_h);
      ${I} g_plane = g_offset, dx_plane = dx_offset;
      ${locate_plane}
      ${covering("z", "d", 0)}
      ${covering("y", "h", 1)}
      if (plane != known || d_begin != known_d || d_end != known_d_end || h_begin != known_h || h_end != known_h_end) {
        known = plane; known_d = d_begin; known_d_end = d_end; known_h = h_begin; known_h_end = h_end;
        for (int o = 0; o < length; o += ${lanes}) vec_store${lanes}((${RV})(0), owed + o);
        for (int oz = d_begin; oz < d_end; oz++)
          for (int oy = h_begin; oy < h_end; oy++) {
            const ${R} area = divisor ? divisor : ${extent("oz", "d", 0)} * ${extent("oy", "h", 1)};
            __global const ${storage} *from = g + g_plane + (${I})oz * g_sd + (${I})oy * g_sh + (${I})o0 * g_sw;
            int o = o_first;
% if plain:
            for (; o + ${lanes} <= o_last; o += ${lanes})
              vec_store${lanes}(vec_load${lanes}(owed + o) + ${load_vector} / (vec_load${lanes}(share + o) * area), owed + o);
% endif
            for (; o < o_last; o++) {
              __global const ${storage} *q = from + (${I})o * g_sw;
              owed[o] += ${load_pixel} / (share[o] * area);
            }
          }
% if unit:
        for (int i = 0; i < wide; i += ${lanes}) {
          ${RV} sum = vec_load${lanes}(owed + i);
% for s in range(1, kernel[2]):
          sum += vec_load${lanes}(owed + i + ${s});
% endfor
          vec_store${lanes}(sum, line + i);
        }
% else:
        for (int i = 0; i < wide; i++) {
          ${R} sum = 0;
          for (int o = edges[2 * i]; o < edges[2 * i + 1]; o++) sum += owed[o - o0];
          line[i] = sum;
        }
% endif
      }
      __global ${dx_storage} *to = dx + dx_plane + (${I})z * dx_sd + (${I})y * dx_sh + x0 * dx_sw;
      int i = 0;
% if dx_plain:
      for (; i + ${lanes} <= wide; i += ${lanes}) { const ${RV} sum = vec_load${lanes}(line + i); ${store_vector}; }
% endif
      for (; i < wide; i++) { const ${R} sum = line[i]; ${store_pixel}; }
    }
  }
}
