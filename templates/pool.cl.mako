## Pooling over planes or volumes, forward: maximum (with its position) or average, fixed or adaptive windows.
##
## Algorithm: rows of output pixels. The taps that fall outside the input are cut off per row (in depth and vertically) and per pixel
## (horizontally). A plane is a volume of depth 1. Where every horizontal tap of a run of pixels is inside, `lanes` pixels are computed at once; the last vector
## of a run is shifted back to end with it, which writes some pixels twice with the same value. With stride 2 one load of 2 x lanes
## elements serves an even and an odd tap. Maximum: the first of equal values wins and the last NaN wins.
## Geometry: Split of walk.py over planes x out_d x out_h rows of out_w pixels. Traffic: input once (windows overlap in cache), outputs once.
## Source: He et al. 2015 for adaptive windows ([floor(i*n/m), ceil((i+1)*n/m)), as spatial pyramid pooling).
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  if (row_begin >= row_end || begin >= end) return;
  ${I} plane = row_begin / out_h / out_d;
  int oz = (int)(row_begin / out_h - plane * out_d), oy = (int)(row_begin % out_h);
  ${I} in_plane = 0, out_plane = 0;
% if maximum:
  ${I} at_plane = 0;
% endif
  int fresh = 1;
% if lanes > 1:
% if maximum:
  const ${IV} lane = (${IV})(${", ".join(str(i * stride[2]) for i in range(lanes))});
% endif
  const ${I} run_begin = begin > run_from ? begin : run_from, run_end = end < run_to ? end : run_to;
% endif
  for (${I} row = row_begin; row < row_end; row++, oy++) {
    if (oy == out_h) { oy = 0; oz++; }
    if (oz == out_d) { oz = 0; plane++; fresh = 1; }
    if (fresh) {
      fresh = 0;
      in_plane = in_offset; out_plane = out_offset;
% if maximum:
      at_plane = at_offset;
% endif
      ${locate_plane}
    }
% if adaptive:
    const int front = (int)((long)oz * in_d / out_d), back = (int)(((long)(oz + 1) * in_d + out_d - 1) / out_d);
    const int top = (int)((long)oy * in_h / out_h), bottom = (int)(((long)(oy + 1) * in_h + out_h - 1) / out_h);
% else:
% for name, place, size, first, d in (("high", "oy", "h", "r", 1), ("deep", "oz", "d", "q", 0)):
    const int ${name} = ${place} * ${stride[d]} - pad_${size};
    const int ${first}_begin = ${name} < 0 ? (-${name} + ${dilation[d] - 1}) / ${dilation[d]} : 0;
    const int ${first}_fit = (in_${size} - ${name} + ${dilation[d] - 1}) / ${dilation[d]};
    const int ${first}_end = ${first}_fit < ${kernel[d]} ? ${first}_fit : ${kernel[d]};
% if not maximum:
    const int pool_${size} = (${name} + ${kernel[d]} < in_${size} + pad_${size} ? ${kernel[d]} : in_${size} + pad_${size} - ${name});
% endif
% endfor
% endif
    const ${I} out_row = out_plane + oz * out_sd + oy * out_sh;
% if maximum:
    const ${I} at_row = at_plane + oz * at_sd + oy * at_sh;
% endif
    ${I} x = begin;
% if lanes > 1:
    if (run_end - run_begin >= ${lanes}) {
      for (; x < run_begin; x++) { ${pixel()} }
      for (; x < run_end; x += ${lanes}) {
        if (x + ${lanes} > run_end) x = run_end - ${lanes};
        const int left = (int)x * ${stride[2]} - pad_w;
        ${RV} best = (${RV})(${start});
% if maximum:
        ${IV} where = lane + (((deep + q_begin * ${dilation[0]}) * in_h + high + r_begin * ${dilation[1]}) * in_w + left);
% endif
        for (int q = q_begin; q < q_end; q++)
        for (int r = r_begin; r < r_end; r++) {
          const int z = deep + q * ${dilation[0]}, y = high + r * ${dilation[1]};
          __global const ${storage} *p = in + in_plane + (${I})z * in_sd + (${I})y * in_sh + left;
% if maximum:
          const ${IV} here = lane + ((z * in_h + y) * in_w + left);
% endif
% for first, expressions in loads:
          { const ${first[0]} pair = ${first[1]};
% for tap, expression in expressions:
            { const ${RV} v = ${expression};
% if maximum:
              const ${IV} take = (v > best) | (v != v);
              best = take ? v : best;
              where = take ? here + ${tap * dilation[2]} : where; }
% else:
              best += v; }
% endif
% endfor
          }
% endfor
        }
% if maximum:
        ${store_vector};
        vec_store${lanes}(CONVERT(long${lanes}, where), at + at_row + x);
% else:
        const int count = ${f"pool_d * pool_h * {kernel[2]}" if include_pad else f"(q_end - q_begin) * (r_end - r_begin) * {kernel[2]}"};
        best /= (${R})(divisor ? divisor : count);
        ${store_vector};
% endif
      }
    }
% endif
    for (; x < end; x++) { ${pixel()} }
  }
}
<%def name="pixel()">
      ${R} best = ${start};
% if adaptive:
      const int z_begin = front, z_end = back, y_begin = top, y_end = bottom, z_step = 1, y_step = 1, x_step = 1;
      const int x_begin = (int)((long)x * in_w / out_w), x_end = (int)(((long)(x + 1) * in_w + out_w - 1) / out_w);
% else:
      const int left = (int)x * ${stride[2]} - pad_w, z_step = ${dilation[0]}, y_step = ${dilation[1]}, x_step = ${dilation[2]};
      const int x_begin = left < 0 ? left + (-left + ${dilation[2] - 1}) / ${dilation[2]} * ${dilation[2]} : left;
      const int x_full = left + ${(kernel[2] - 1) * dilation[2] + 1};
      const int x_end = x_full < in_w ? x_full : in_w;
      const int y_begin = high + r_begin * ${dilation[1]}, y_end = high + (r_end - 1) * ${dilation[1]} + 1;
      const int z_begin = deep + q_begin * ${dilation[0]}, z_end = deep + (q_end - 1) * ${dilation[0]} + 1;
% endif
% if maximum:
      int where = (z_begin * in_h + y_begin) * in_w + x_begin;
% endif
      for (int z = z_begin; z < z_end; z += z_step)
      for (int y = y_begin; y < y_end; y += y_step)
        for (int t = x_begin; t < x_end; t += x_step) {
          __global const ${storage} *q = in + in_plane + (${I})z * in_sd + (${I})y * in_sh + (${I})t * in_sw;
          const ${R} v = ${load_pixel};
% if maximum:
          if (v > best || v != v) { best = v; where = (z * in_h + y) * in_w + t; }
% else:
          best += v;
% endif
        }
% if maximum:
      ${store_pixel};
      at[at_row + x * at_sw] = where;
% elif adaptive:
      best /= (${R})((z_end - z_begin) * (y_end - y_begin) * (x_end - x_begin));
      ${store_pixel};
% else:
% if include_pad:
      const int pool_w = x_full < in_w + pad_w ? ${kernel[2]} : in_w + pad_w - left;
      const int count = pool_d * pool_h * pool_w;
% else:
      const int count = (q_end - q_begin) * (r_end - r_begin) * (x_end - x_begin);
% endif
      best /= (${R})(divisor ? divisor : count);
      ${store_pixel};
% endif
</%def>
