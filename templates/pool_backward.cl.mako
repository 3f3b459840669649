## Gradient of pooling, gathered: every input pixel adds up what the windows that cover it owe it. No atomics, one writer each.
##
## Maximum: a window owes its gradient to the one position its forward pass recorded. Average: to all, divided by the window's divisor.
## Geometry: Split of walk.py over planes x in_h rows of in_w pixels. Traffic: gradients and positions once (cached), result once.
__kernel __attribute__((reqd_work_group_size(${group}, 1, 1)))
void KERNEL(${parameters}) {
  ${span}
  for (${I} row = row_begin; row < row_end; row++) {
    const ${I} plane = row / in_h;
    const int y = (int)(row - plane * in_h);
    ${I} g_plane = g_offset, dx_plane = dx_offset;
% if maximum:
    ${I} at_plane = at_offset;
% endif
    ${locate_plane}
% if adaptive:
    const int oy_begin = (int)((long)y * out_h / in_h), oy_end = (int)(((long)(y + 1) * out_h + in_h - 1) / in_h);
% else:
    const int low = y + pad_h - ${(kernel[0] - 1) * dilation[0]};
    const int oy_begin = low > 0 ? (low + ${stride[0] - 1}) / ${stride[0]} : 0;
    const int last = (y + pad_h) / ${stride[0]} + 1, oy_end = last < out_h ? last : out_h;
% endif
    for (${I} x = begin; x < end; x++) {
% if adaptive:
      const int ox_begin = (int)((long)x * out_w / in_w), ox_end = (int)(((long)(x + 1) * out_w + in_w - 1) / in_w);
% else:
      const int near = (int)x + pad_w - ${(kernel[1] - 1) * dilation[1]};
      const int ox_begin = near > 0 ? (near + ${stride[1] - 1}) / ${stride[1]} : 0;
      const int far = ((int)x + pad_w) / ${stride[1]} + 1, ox_end = far < out_w ? far : out_w;
% endif
      ${R} sum = 0;
      for (int oy = oy_begin; oy < oy_end; oy++)
        for (int ox = ox_begin; ox < ox_end; ox++) {
% if maximum:
          if (at[at_plane + (${I})oy * at_sh + (${I})ox * at_sw] == (${A})(y * in_w + (int)x))
            sum += ${load_g};
% elif adaptive:
          const int top = (int)((long)oy * in_h / out_h), bottom = (int)(((long)(oy + 1) * in_h + out_h - 1) / out_h);
          const int left = (int)((long)ox * in_w / out_w), right = (int)(((long)(ox + 1) * in_w + out_w - 1) / out_w);
          sum += ${load_g} / (${R})((bottom - top) * (right - left));
% else:
          const int top = oy * ${stride[0]} - pad_h, left = ox * ${stride[1]} - pad_w;
% if include_pad:
          const int y_end = top + ${kernel[0]} < in_h + pad_h ? top + ${kernel[0]} : in_h + pad_h;
          const int x_end = left + ${kernel[1]} < in_w + pad_w ? left + ${kernel[1]} : in_w + pad_w;
          const int count = (y_end - top) * (x_end - left);
% else:
          const int y_end = top + ${kernel[0]} < in_h ? top + ${kernel[0]} : in_h;
          const int x_end = left + ${kernel[1]} < in_w ? left + ${kernel[1]} : in_w;
          const int count = (y_end - (top > 0 ? top : 0)) * (x_end - (left > 0 ? left : 0));
% endif
          sum += ${load_g} / (${R})(divisor ? divisor : count);
% endif
        }
      ${store_pixel};
    }
  }
}
